"""The table of addresses: what is refused, what is not, and what an operator may excuse."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.outgoing.addresses import Range, embedded_ipv4, networks, plain, refused

PUBLIC = (
    "1.1.1.1", "8.8.8.8", "93.184.215.14", "9.255.255.255", "11.0.0.0", "100.63.255.255",
    "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0",
    "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0",
    "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2a00:1450:4001:82b::200e", "2001:4860:4860::8888",
    "64:ff9b::8.8.8.8", "::ffff:8.8.8.8",
)  # fmt: skip

REFUSED = (
    ("0.0.0.0", Range.UNSPECIFIED), ("0.255.255.255", Range.UNSPECIFIED),
    ("10.0.0.0", Range.PRIVATE), ("10.255.255.255", Range.PRIVATE),
    ("172.16.0.0", Range.PRIVATE), ("172.31.255.255", Range.PRIVATE),
    ("192.168.0.0", Range.PRIVATE), ("192.168.255.255", Range.PRIVATE),
    ("100.64.0.0", Range.SHARED), ("100.127.255.255", Range.SHARED),
    ("127.0.0.0", Range.LOOPBACK), ("127.255.255.255", Range.LOOPBACK),
    ("169.254.0.0", Range.LINK_LOCAL), ("169.254.255.255", Range.LINK_LOCAL),
    ("169.254.169.254", Range.METADATA), ("168.63.129.16", Range.METADATA),
    ("100.100.100.200", Range.METADATA), ("192.0.0.192", Range.METADATA),
    ("192.0.0.1", Range.RESERVED), ("192.0.2.255", Range.DOCUMENTATION),
    ("192.88.99.1", Range.TRANSLATED), ("198.19.255.255", Range.BENCHMARK),
    ("203.0.113.0", Range.DOCUMENTATION), ("224.0.0.0", Range.MULTICAST),
    ("239.255.255.255", Range.MULTICAST), ("240.0.0.0", Range.RESERVED),
    ("255.255.255.255", Range.RESERVED),
    ("::", Range.UNSPECIFIED), ("::1", Range.LOOPBACK), ("::2", Range.TRANSLATED),
    ("::8.8.8.8", Range.TRANSLATED), ("::ffff:127.0.0.1", Range.LOOPBACK),
    ("::ffff:169.254.169.254", Range.METADATA), ("::ffff:0:8.8.8.8", Range.TRANSLATED),
    ("64:ff9b::10.0.0.1", Range.PRIVATE), ("64:ff9b::169.254.169.254", Range.METADATA),
    ("64:ff9b:1::8.8.8.8", Range.TRANSLATED), ("2001::1", Range.TRANSLATED),
    ("2002:808:808::", Range.TRANSLATED), ("2002:a9fe:a9fe::", Range.METADATA),
    ("2606:4700::5efe:10.0.0.1", Range.PRIVATE), ("2606:4700::200:5efe:7f00:1", Range.LOOPBACK),
    ("2001:db8::1", Range.DOCUMENTATION), ("3fff:fff::1", Range.DOCUMENTATION),
    ("2001:2::1", Range.BENCHMARK), ("2001:10::1", Range.RESERVED), ("100::1", Range.RESERVED),
    ("4000::1", Range.RESERVED), ("5f00::1", Range.RESERVED), ("fc00::1", Range.PRIVATE),
    ("fdff::1", Range.PRIVATE), ("fd00:ec2::254", Range.METADATA), ("fe80::1", Range.LINK_LOCAL),
    ("febf::1", Range.LINK_LOCAL), ("fec0::1", Range.PRIVATE), ("ff02::1", Range.MULTICAST),
)  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_not_refused(text: str) -> None:
    assert refused(ip_address(text)) is None


@pytest.mark.parametrize(("text", "kind"), REFUSED)
def test_an_address_that_is_not_public_is_refused_as_what_it_is(text: str, kind: Range) -> None:
    refusal = refused(ip_address(text))
    assert refusal is not None
    assert refusal.range is kind


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_judged_alike_in_every_form_that_leads_to_it(value: int) -> None:
    four = IPv4Address(value)
    here = refused(four)
    mapped = refused(IPv6Address(0xFFFF00000000 | value))
    nat64 = refused(IPv6Address((0x64FF9B << 96) | value))
    assert mapped == here
    assert (nat64 is None) == (here is None)
    assert nat64 is None or here is None or nat64.range is here.range


@given(st.ip_addresses(v=4))
def test_nothing_passes_that_ipaddress_itself_calls_not_global(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert refused(address) is not None


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_passes_only_as_global_unicast_or_nat64(address: IPv6Address) -> None:
    if refused(address) is None and not isinstance(plain(address), IPv4Address):
        assert address.exploded.startswith(("2", "3", "0064:ff9b:0000:0000:0000:0000:"))


def test_a_zone_does_not_change_what_an_address_is() -> None:
    assert refused(ip_address("fe80::1%eth0")) == refused(ip_address("fe80::1"))
    assert refused(ip_address("fd00:ec2::254%eth0"), allow=networks(["fd00::/8"])) is not None


def test_an_allowed_network_excuses_its_addresses_in_every_form_and_no_others() -> None:
    allow = networks(["10.20.0.0/16"])
    for text in ("10.20.3.4", "::ffff:10.20.3.4", "64:ff9b::10.20.3.4"):
        assert refused(ip_address(text), allow=allow) is None
    for text in ("10.21.0.1", "127.0.0.1", "::ffff:10.21.0.1", "::1"):
        assert refused(ip_address(text), allow=allow) is not None


@pytest.mark.parametrize("text", ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254"])
def test_a_metadata_service_is_excused_by_its_own_address_only(text: str) -> None:
    address = ip_address(text)
    wide = networks(["0.0.0.0/0", "::/0", "169.254.0.0/16", "fd00::/8"])
    assert refused(address, allow=wide) is not None
    assert refused(address, on_premises=True) is not None
    assert refused(address, allow=networks([str(plain(address))])) is None


def test_a_host_on_the_premises_may_be_private_and_no_more() -> None:
    for text in ("10.0.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "fd12::1"):
        assert refused(ip_address(text), on_premises=True) is None
    for text in ("169.254.1.1", "224.0.0.1", "0.0.0.0", "fe80::1", "2002:a00:1::"):
        assert refused(ip_address(text), on_premises=True) is not None


def test_the_ipv4_addresses_in_an_ipv6_address_are_found() -> None:
    assert embedded_ipv4(ip_address("2002:7f00:1::")) == (IPv4Address("127.0.0.1"),)
    assert IPv4Address("127.0.0.1") in embedded_ipv4(
        ip_address("2001:0:808:808:0:0:80ff:fffe")
    )  # Teredo: the client's, inverted
    assert embedded_ipv4(ip_address("2a00:1450:4001:82b::200e")) == ()
    assert embedded_ipv4(ip_address("::1")) == ()
