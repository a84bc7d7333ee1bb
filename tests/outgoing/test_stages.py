"""Who watches a request is told how far it has come, when it is there and not afterwards."""

from __future__ import annotations

import asyncio

from producer.outgoing.answers import FailureKind, Stage
from producer.outgoing.client import OutgoingClient
from producer.outgoing.policy import OutgoingPolicy
from tests.outgoing.certificates import Authority
from tests.outgoing.servers import Conversation, Names, failing, serving


def client_of(authority: Authority, *, timeout_s: float = 20) -> OutgoingClient:
    return OutgoingClient(
        OutgoingPolicy(
            allow_networks=("127.0.0.1/32",), ca_file=str(authority.file), timeout_s=timeout_s
        ),
        resolve=Names(**{"slow.test": (("127.0.0.1",),)}),
    )


async def told(stages: list[Stage], *wanted: Stage) -> None:
    async with asyncio.timeout(20):
        while stages != list(wanted):
            assert len(stages) <= len(wanted), stages
            await asyncio.sleep(0.01)


def test_each_stage_is_told_while_the_server_keeps_back_the_next(authority: Authority) -> None:
    async def run() -> None:
        may_encrypt, may_answer, may_end = (asyncio.Event() for _ in range(3))

        async def slow(conversation: Conversation) -> None:
            # Else the stream, and not TLS, reads what the client begins with.
            conversation.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await may_encrypt.wait()
            await conversation.writer.start_tls(authority.server("slow.test"))
            await conversation.read_request()
            await may_answer.wait()
            await conversation.send(b"HTTP/1.1 200 x\r\ncontent-length: 2\r\n\r\no")
            await may_end.wait()
            await conversation.send(b"k")

        stages: list[Stage] = []
        async with serving(slow, read=False) as server:
            asking = asyncio.create_task(
                client_of(authority).request(
                    "GET", f"https://slow.test:{server.port}/", on_stage=stages.append
                )
            )
            await told(stages, Stage.RESOLVED, Stage.CONNECTED)
            may_encrypt.set()
            await told(stages, Stage.RESOLVED, Stage.CONNECTED, Stage.SECURED)
            may_answer.set()
            await told(stages, *Stage)
            assert not asking.done()
            may_end.set()
            assert (await asking).body == b"ok"
        assert stages == list(Stage)

    asyncio.run(run())


def test_what_did_not_come_about_is_not_told(authority: Authority) -> None:
    async def run() -> None:
        async def silent(conversation: Conversation) -> None:
            await asyncio.sleep(20)

        stages: list[Stage] = []
        client = client_of(authority, timeout_s=0.5)
        async with serving(silent, read=False) as server:
            failure = await failing(
                client, f"https://slow.test:{server.port}/", on_stage=stages.append
            )
        assert failure.kind is FailureKind.TIMEOUT
        assert stages == [Stage.RESOLVED, Stage.CONNECTED]
        stages.clear()
        await failing(client, "https://unknown.test/", on_stage=stages.append)
        assert stages == []

    asyncio.run(run())
