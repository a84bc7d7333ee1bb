"""Where a request is from: the socket's address, or what a trusted proxy says it is."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.requests import HTTPConnection

Network = IPv4Network | IPv6Network

_MAX_HOPS: Final = 20


def client_address(connection: HTTPConnection, proxies: tuple[str, ...]) -> str:
    """The nearest address that is none of our proxies': what is before it, anybody can write.

    `proxies` are networks, such as 10.0.0.0/8; without any no header is believed.
    """
    found = connection.client.host if connection.client is not None else ""
    if not proxies or not _within(found, proxies):
        return found
    hops = ",".join(connection.headers.getlist("x-forwarded-for")).split(",")
    for hop in reversed(hops[-_MAX_HOPS:]):
        address = hop.strip()
        if not _is_address(address):
            break
        found = address
        if not _within(address, proxies):
            break
    return found


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _within(text: str, proxies: tuple[str, ...]) -> bool:
    return _is_address(text) and any(ip_address(text) in one for one in _networks(proxies))


@lru_cache(8)
def _networks(proxies: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(one) for one in proxies)
