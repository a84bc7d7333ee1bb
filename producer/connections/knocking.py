"""Whether Kafka is evidently away: nobody listens at any of its addresses.

Silence proves nothing, and one address that does not refuse is enough to wait for an answer.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, Final

_PORT: Final = 9092
_Address = tuple[int, Any]


def nobody_listens(bootstrap_servers: str, within_s: float = 0.25) -> bool:
    """Whether every address of every server refuses a connection. Blocks, also for the names.

    librdkafka's `all brokers are down` is not asked: of a name with many addresses it tries one,
    so that a single broker that is being restarted would look like all of them.
    """
    try:
        addresses = list(_addresses(bootstrap_servers))
    except (OSError, ValueError):
        # A name that is not found may be the name server's trouble.
        return False
    return bool(addresses) and all(_refuses(address, within_s) for address in addresses)


def _addresses(bootstrap_servers: str) -> Iterator[_Address]:
    for server in bootstrap_servers.split(","):
        place = server.strip().rpartition("://")[2]
        if not place:
            continue
        host, colon, port = place.rpartition(":")
        if not colon or place.endswith("]"):
            host, port = place, str(_PORT)
        for family, _, _, _, address in socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        ):
            yield family, address


def _refuses(address: _Address, within_s: float) -> bool:
    family, place = address
    with socket.socket(family, socket.SOCK_STREAM) as knocking:
        knocking.settimeout(within_s)
        try:
            knocking.connect(place)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
