"""Kafka is evidently away only where every address refuses."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from producer.connections.knocking import nobody_listens
from tests.parts.process import free_port


@pytest.fixture
def silent() -> Iterator[int]:
    """A port at which somebody listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_where_every_address_refuses_nobody_listens() -> None:
    one, other = free_port(), free_port()
    assert nobody_listens(f"127.0.0.1:{one}")
    assert nobody_listens(f" SASL_SSL://127.0.0.1:{one} , 127.0.0.1:{other},")


def test_one_that_takes_the_connection_is_enough_to_wait_for(silent: int) -> None:
    assert not nobody_listens(f"127.0.0.1:{free_port()},127.0.0.1:{silent}")


def test_one_that_only_keeps_silent_is_enough_to_wait_for(silent: int) -> None:
    with socket.socket() as full:
        # A backlog that is full: the kernel drops what comes, as a firewall does.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            assert not nobody_listens(f"127.0.0.1:{port}", 0.1)
        finally:
            for one in waiting:
                one.close()


def test_a_name_with_many_addresses_is_away_when_all_of_them_are(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = free_port()
    found = [("127.0.0.1", gone), ("127.0.0.1", silent)]

    def look_up(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", one) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert not nobody_listens("kafka:9092")
    found.pop()
    assert nobody_listens("kafka:9092")


@pytest.mark.parametrize("servers", ["", " , ", "no.such.name.invalid:9092", "127.0.0.1:x", "a b"])
def test_what_cannot_be_looked_up_proves_nothing(servers: str) -> None:
    assert not nobody_listens(servers)


def test_ports_and_ipv6_are_read_as_the_client_reads_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, int]] = []

    def look_up(host: str, port: int, **_: object) -> list[object]:
        asked.append((host, port))
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert not nobody_listens("a,[::1]:19092,[::1],SSL://b:93")
    assert asked == [("a", 9092), ("::1", 19092), ("::1", 9092), ("b", 93)]
