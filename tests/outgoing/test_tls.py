"""The certificate is checked against the name that was written, always."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from producer.outgoing.answers import FailureKind
from producer.outgoing.client import OutgoingClient
from producer.outgoing.connecting import tls_context
from producer.outgoing.policy import OutgoingPolicy
from schemas.errors import ConfigurationError
from tests.outgoing.certificates import Authority
from tests.outgoing.servers import Conversation, Names, failing, serving


async def fine(conversation: Conversation) -> None:
    await conversation.answer(200, b"fine")


def client_of(authority: Authority | None) -> OutgoingClient:
    return OutgoingClient(
        OutgoingPolicy(
            allow_networks=("127.0.0.1/32",),
            ca_file=None if authority is None else str(authority.file),
            timeout_s=20,
        ),
        resolve=Names(**{"good.test": (("127.0.0.1",),)}),
    )


def test_a_good_certificate_is_taken_and_the_name_is_sent(authority: Authority) -> None:
    async def run() -> None:
        async with serving(fine, tls=authority.server("good.test")) as server:
            answer = await client_of(authority).request(
                "GET", f"https://good.test:{server.port}/a?b=c"
            )
            assert (answer.status, answer.body) == (200, b"fine")
            assert answer.url == f"https://good.test:{server.port}/a"
            assert server.names == ["good.test"]
            asked = server.conversations[0]
            assert asked.head.startswith("GET /a?b=c HTTP/1.1\r\n")
            assert asked.header("host") == f"good.test:{server.port}"

    asyncio.run(run())


def test_an_address_in_the_url_is_checked_against_the_certificate_too(
    authority: Authority,
) -> None:
    async def run() -> None:
        client = client_of(authority)
        async with serving(fine, tls=authority.server("127.0.0.1")) as server:
            assert (await client.request("GET", f"https://127.0.0.1:{server.port}/")).status == 200
        async with serving(fine, tls=authority.server("good.test")) as server:
            failure = await failing(client, f"https://127.0.0.1:{server.port}/")
            assert failure.kind is FailureKind.CERTIFICATE

    asyncio.run(run())


@pytest.mark.parametrize(
    ("hosts", "days", "self_signed", "trusted", "said"),
    [
        (["other.test"], (-1, 30), False, True, "is for another name"),
        (["*.good.test"], (-1, 30), False, True, "is for another name"),
        (["127.0.0.1"], (-1, 30), False, True, "is for another name"),
        (["good.test"], (-30, -1), False, True, "has expired"),
        (["good.test"], (1, 30), False, True, "is not valid yet"),
        (["good.test"], (-1, 30), True, True, "is self-signed"),
        (["good.test"], (-1, 30), False, False, "authority that is not trusted"),
    ],
)
def test_a_bad_certificate_is_refused_and_nothing_is_sent(
    hosts: list[str],
    days: tuple[int, int],
    self_signed: bool,
    trusted: bool,
    said: str,
    authority: Authority,
) -> None:
    async def run() -> None:
        tls = authority.server(*hosts, days=days, self_signed=self_signed)
        async with serving(fine, tls=tls) as server:
            failure = await failing(
                client_of(authority if trusted else None),
                f"https://good.test:{server.port}/",
                headers={"authorization": "Bearer s3cret"},
            )
            assert failure.kind is FailureKind.CERTIFICATE
            assert said in str(failure)
            assert failure.host == "good.test"
            assert server.conversations == []

    asyncio.run(run())


def test_a_server_that_refuses_the_handshake_is_told_as_such(authority: Authority) -> None:
    async def run() -> None:
        async def refuse(conversation: Conversation) -> None:
            await conversation.reader.read(1)
            # A fatal alert: protocol_version (RFC 8446, 6.2).
            await conversation.send(b"\x15\x03\x01\x00\x02\x02\x46")

        async with serving(refuse, read=False) as server:
            failure = await failing(client_of(authority), f"https://good.test:{server.port}/")
            assert failure.kind is FailureKind.TLS
            assert "TLS 1.2 or newer" in str(failure)

    asyncio.run(run())


def test_tls_is_verified_whatever_the_policy() -> None:
    context = tls_context(OutgoingPolicy(https_only=False, allow_networks=("0.0.0.0/0",)))
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_plain_http_at_an_https_port_is_told_as_such(authority: Authority) -> None:
    async def run() -> None:
        async def plain(conversation: Conversation) -> None:
            await conversation.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

        async with serving(plain, read=False) as server:
            failure = await failing(client_of(authority), f"https://good.test:{server.port}/")
            assert failure.kind is FailureKind.TLS
            assert "is the port right?" in str(failure)

    asyncio.run(run())


def test_a_ca_file_that_is_none_is_a_mistake_of_the_settings(authority: Authority) -> None:
    empty = authority.file.with_name("empty.pem")
    empty.write_text("")
    for path in (str(authority.file.with_name("none.pem")), str(empty)):
        with pytest.raises(ConfigurationError, match=r"outgoing\.ca_file"):
            OutgoingClient(OutgoingPolicy(ca_file=path))
    with pytest.raises(ConfigurationError, match=r"10\.20\.0\.0/16"):
        OutgoingClient(OutgoingPolicy(allow_networks=("10.1.2.3/8",)))
