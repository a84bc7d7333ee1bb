"""Which addresses no request of a customer goes to. Pure, and by our own table.

`ipaddress.is_global` and its relatives are not enough: they call multicast global, know nothing of
the platform addresses of clouds, differ from one Python to the next (CVE-2024-4032), and look at
an IPv6 address without the IPv4 address in it. The tables follow IANA's special-purpose address
registries (RFC 6890); of IPv6 only what is handed out as global unicast (2000::/3) is considered at
all, with NAT64's well-known prefix (RFC 6052), behind which an IPv6-only network reaches IPv4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

import msgspec

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Range(StrEnum):
    """What kind of address it is that is refused; safe as a label."""

    UNSPECIFIED = "unspecified"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    SHARED = "shared"
    LINK_LOCAL = "link_local"
    METADATA = "metadata"
    MULTICAST = "multicast"
    DOCUMENTATION = "documentation"
    BENCHMARK = "benchmark"
    TRANSLATED = "translated"
    RESERVED = "reserved"


#: For the customer, behind "which is ".
MEANING: Final[dict[Range, str]] = {
    Range.UNSPECIFIED: "no address of a system",
    Range.LOOPBACK: "our own machine",
    Range.PRIVATE: "inside a private network",
    Range.SHARED: "inside an internet provider's own network",
    Range.LINK_LOCAL: "inside the local network",
    Range.METADATA: "a service of the machine's own platform",
    Range.MULTICAST: "a group of machines",
    Range.DOCUMENTATION: "an example from documentation",
    Range.BENCHMARK: "for measurements only",
    Range.TRANSLATED: "another address in disguise",
    Range.RESERVED: "reserved, and belongs to no system",
}


class Refusal(msgspec.Struct, frozen=True):
    """Why no connection is made: the address as it is judged, and its kind."""

    address: str
    range: Range


#: Where machines of clouds ask for their own credentials. Within no allowed network unless it is
#: this one address: AWS, GCP and Azure, AWS's containers and time, Alibaba, Oracle, Azure's host.
_METADATA: Final = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.169.123",
        "100.100.100.200", "192.0.0.192", "168.63.129.16",
        "fd00:ec2::254", "fd00:ec2::23", "fd00:ec2::123", "fd20:ce::254",
    )
)  # fmt: skip

_V4: Final[tuple[tuple[IPv4Network, Range], ...]] = tuple(
    (IPv4Network(text), kind)
    for text, kind in (
        ("0.0.0.0/8", Range.UNSPECIFIED),
        ("10.0.0.0/8", Range.PRIVATE),
        ("100.64.0.0/10", Range.SHARED),
        ("127.0.0.0/8", Range.LOOPBACK),
        ("169.254.0.0/16", Range.LINK_LOCAL),
        ("172.16.0.0/12", Range.PRIVATE),
        ("192.0.0.0/24", Range.RESERVED),
        ("192.0.2.0/24", Range.DOCUMENTATION),
        ("192.31.196.0/24", Range.RESERVED),
        ("192.52.193.0/24", Range.RESERVED),
        ("192.88.99.0/24", Range.TRANSLATED),
        ("192.168.0.0/16", Range.PRIVATE),
        ("192.175.48.0/24", Range.RESERVED),
        ("198.18.0.0/15", Range.BENCHMARK),
        ("198.51.100.0/24", Range.DOCUMENTATION),
        ("203.0.113.0/24", Range.DOCUMENTATION),
        ("224.0.0.0/4", Range.MULTICAST),
        ("240.0.0.0/4", Range.RESERVED),
    )
)

_NAT64: Final = IPv6Network("64:ff9b::/96")
_GLOBAL: Final = IPv6Network("2000::/3")
#: In order: the first that fits says what it is.
_V6: Final[tuple[tuple[IPv6Network, Range], ...]] = tuple(
    (IPv6Network(text), kind)
    for text, kind in (
        ("::/128", Range.UNSPECIFIED),
        ("::1/128", Range.LOOPBACK),
        ("::/96", Range.TRANSLATED),
        ("::ffff:0:0:0/96", Range.TRANSLATED),
        ("64:ff9b:1::/48", Range.TRANSLATED),
        ("100::/64", Range.RESERVED),
        ("2001::/32", Range.TRANSLATED),
        ("2001:2::/48", Range.BENCHMARK),
        ("2001:db8::/32", Range.DOCUMENTATION),
        ("2001::/23", Range.RESERVED),
        ("2002::/16", Range.TRANSLATED),
        ("2620:4f:8000::/48", Range.RESERVED),
        ("3ffe::/16", Range.RESERVED),
        ("3fff::/20", Range.DOCUMENTATION),
        ("fc00::/7", Range.PRIVATE),
        ("fe80::/10", Range.LINK_LOCAL),
        ("fec0::/10", Range.PRIVATE),
        ("ff00::/8", Range.MULTICAST),
    )
)
#: The interface ids of ISATAP (RFC 5214), under any prefix: an IPv4 address follows.
_ISATAP: Final = (0x00005EFE, 0x02005EFE)

#: What a host's name on the list of allowed ones excuses: that the system is on the premises.
_ON_PREMISES: Final = frozenset({Range.PRIVATE, Range.SHARED, Range.LOOPBACK})


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """From settings, such as `10.20.0.0/16`; ValueError names the one that is no network."""
    return tuple(ip_network(text) for text in texts)


def plain(address: Address) -> Address:
    """The IPv4 address where it is one written as IPv6 (`::ffff:a.b.c.d`): the socket goes there
    too. Without its zone."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        return IPv6Address(int(address))
    return address


def refused(
    address: Address, *, allow: Sequence[Network] = (), on_premises: bool = False
) -> Refusal | None:
    """Why nothing may be sent to `address`, or None.

    `allow` are networks in which everything may be asked, except metadata services that are not
    listed by themselves. `on_premises`: the host is one that an operator trusts to be inside.
    """
    address = plain(address)
    embedded = embedded_ipv4(address)
    if address in _METADATA or any(one in _METADATA for one in embedded):
        alone = any(network.num_addresses == 1 and address in network for network in allow)
        return None if alone else Refusal(str(address), Range.METADATA)
    if any(address in network for network in allow):
        return None
    kind = _range(address)
    if kind is not None:
        return None if on_premises and kind in _ON_PREMISES else Refusal(str(address), kind)
    for one in embedded:
        if (inner := refused(one, allow=allow, on_premises=on_premises)) is not None:
            return Refusal(str(address), inner.range)
    return None


def embedded_ipv4(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that a translator, a relay or a tunnel would take out of an IPv6 one."""
    if isinstance(address, IPv4Address):
        return ()
    value = int(address)
    low = IPv4Address(value & 0xFFFFFFFF)
    found: list[IPv4Address] = []
    if address in _NAT64 or address in IPv6Network("64:ff9b:1::/48"):
        found.append(low)
    if (value >> 32) in (0, 0xFFFF, 0xFFFF0000) and value > 1:
        found.append(low)
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    if (value >> 32) & 0xFFFFFFFF in _ISATAP:
        found.append(low)
    return tuple(found)


def _range(address: Address) -> Range | None:
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _V4 if address in network), None)
    if address in _NAT64:
        return None
    for network, kind in _V6:
        if address in network:
            return kind
    return None if address in _GLOBAL else Range.RESERVED
