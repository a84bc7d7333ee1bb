"""A URL that somebody else wrote, taken apart once: what is checked here is what is asked.

Two parsers that read one URL differently are how such checks are got around, so there is only this
one, and what it does not understand it refuses. Reasons are for the customer who wrote it.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import quote, urljoin

import idna
import msgspec

from producer.outgoing.addresses import Address

MAX_URL_CHARACTERS: Final = 4_096
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
#: Above 1023, the ports of other protocols that browsers refuse too (WHATWG Fetch, "bad port").
_BAD_PORTS: Final = frozenset(
    {
        1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566,
        6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    }
)  # fmt: skip

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_AUTHORITY_END: Final = re.compile(r"[/?#]")
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}")
#: Whitespace, control characters, and what is not to be seen (separators, marks of direction).
_UNSEEN: Final = re.compile(
    r"[\x00-\x20\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb]"
)


class Malformed(Exception):
    """Why this URL is not asked, for the customer; says nothing of it but its host."""

    def __init__(self, reason: str, host: str = "") -> None:
        super().__init__(reason)
        self.host = host


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request goes. `address` is set where the host is one and no name."""

    scheme: str
    #: Lower case, ASCII (IDNA), no brackets.
    host: str
    port: int
    #: Path and query, percent-encoded, as it stands in the request.
    path: str
    address: Address | None = None

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials are bound to."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """For the Host header: without the scheme's own port."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """Scheme and host; all that is ever said of it."""
        return f"{self.scheme}://{self.authority}"

    @property
    def url(self) -> str:
        """Without its query, in which secrets may be."""
        return self.shown + self.path.partition("?")[0]


def parse(url: str, *, https_only: bool = True, short_names: bool = False) -> Target:
    """The target that `url` names; Malformed with the reason.

    `short_names`: names without a dot are for systems on the premises. Ports are the caller's
    `port_refused`, as hosts may be excused from it.
    """
    if not url:
        raise Malformed("the address is empty")
    if len(url) > MAX_URL_CHARACTERS:
        raise Malformed(f"the address is longer than {MAX_URL_CHARACTERS} characters")
    if _UNSEEN.search(url):
        raise Malformed(
            "the address has a space, a line break or an invisible character in it: copy it again, "
            "without what stands around it"
        )
    if "\\" in url:
        raise Malformed("the address has a backslash (\\) in it: write / instead")
    scheme, rest = _scheme(url, https_only)
    end = _AUTHORITY_END.search(rest)
    authority, tail = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    if "@" in authority:
        raise Malformed(
            "the address has a user name or a password before an @: leave them out, there are "
            "fields of their own for them"
        )
    host, port_text, address = _host_and_port(authority, short_names)
    return Target(
        scheme=scheme,
        host=host,
        port=_port(port_text, host) if port_text is not None else _DEFAULT_PORTS[scheme],
        path=_path(tail),
        address=address,
    )


def redirected(source: Target, location: str, *, https_only: bool, short_names: bool) -> Target:
    """Where `location`, which an answer of `source` named, leads; Malformed with the reason."""
    # First, as urljoin drops some of what `parse` refuses.
    if _UNSEEN.search(location) or "\\" in location:
        raise Malformed("it has a character in it that no address has")
    try:
        # Whatever it makes of it: its result is parsed and checked as any URL is.
        url = urljoin(source.shown + source.path, location)
    except ValueError:
        raise Malformed("it is no address") from None
    found = parse(url, https_only=https_only, short_names=short_names)
    if source.scheme == "https" and found.scheme != "https":
        raise Malformed("it is not encrypted (http://)", found.host)
    return found


def port_refused(port: int) -> str | None:
    """Why a request to `port` of a system that is not excused is not sent."""
    if port in (80, 443) or (port >= 1024 and port not in _BAD_PORTS):
        return None
    return f"port {port} is not one at which systems answer over HTTPS: leave it out"


def _scheme(url: str, https_only: bool) -> tuple[str, str]:
    found = _SCHEME.match(url)
    # Of `shop.example:8443/x` the part before the colon is a host.
    if found is None or not url.startswith("//", found.end()):
        raise Malformed("the address does not begin with https://")
    scheme = found.group(1).lower()
    if scheme == "http" and https_only:
        raise Malformed("the address is not encrypted (http://): write https:// instead")
    if scheme not in _DEFAULT_PORTS:
        raise Malformed("the address is not one of the web: it must begin with https://")
    return scheme, url[found.end() + 2 :]


def _host_and_port(authority: str, short_names: bool) -> tuple[str, str | None, Address | None]:
    if authority.startswith("["):
        inside, bracket, after = authority[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise Malformed("the address has brackets that do not fit together")
        text, literal = _ipv6(inside)
        return text, after[1:] if after else None, literal
    host, colon, port = authority.partition(":")
    if ":" in port:
        raise Malformed("the address has more than one port; an IPv6 address needs [brackets]")
    host, address = _name(host, short_names)
    return host, port if colon else None, address


def _ipv6(text: str) -> tuple[str, IPv6Address]:
    if "%" in text:
        raise Malformed("the address names a network interface (%…): write it without")
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise Malformed("what stands in [brackets] is no IPv6 address") from None
    return str(address), address


def _name(written: str, short_names: bool) -> tuple[str, Address | None]:
    if not written:
        raise Malformed("the address has no host: after https:// comes the system's name")
    if "%" in written:
        raise Malformed("the host's name has a % in it: write it out")
    host = written.lower() if written.isascii() else _idna(written)
    if host.endswith("."):
        raise Malformed("the host's name ends in a dot: leave it out")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(host)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Malformed("the host's name has characters, or a length, that no name has")
    if any(label.startswith("xn--") for label in labels):
        _idna(host)
    if len(labels) == 1 and not short_names:
        raise Malformed(
            f"{host} is not a whole name: write it with its domain, such as {host}.example.com",
            host,
        )
    return host, None


def _ipv4(host: str) -> tuple[str, Address]:
    # Strictly four decimal numbers: resolvers read 2130706433, 0x7f.1 and 0177.0.0.1 as 127.0.0.1.
    if _DECIMAL.fullmatch(host):
        try:
            return host, IPv4Address(host)
        except AddressValueError:
            pass
    raise Malformed("the host is a number that is no IPv4 address: write the system's name")


def _idna(name: str) -> str:
    try:
        return idna.encode(name, uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise Malformed("the host's name has characters that no name has") from None


def _port(text: str, host: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65_536):
        raise Malformed("the port, behind the colon, is no number from 1 to 65535", host)
    return int(text)


def _path(tail: str) -> str:
    path = tail.partition("#")[0]
    if not path.startswith("/"):
        path = "/" + path
    return quote(path, safe="!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
