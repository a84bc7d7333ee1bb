"""Which pages may embed the component: an exact list, no pattern, no `null`; pure.

CORS without credentials: no cookie ever goes along, so a page that is not ours can use nothing but
the session token that it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from schemas.errors import ConfigurationError

_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PREFLIGHT: Final = {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "authorization, content-type",
    "access-control-max-age": "600",
}


class Origins:
    """The allow-list; ConfigurationError, with what to write instead, if an entry is no origin."""

    def __init__(self, allowed: Sequence[str] = (), own: str = "") -> None:
        """`own` is the console's public URL, if it has one."""
        problems = [
            f"connect.allowed_origins: {one!r} {why}" for one in allowed if (why := _bad(one))
        ]
        if problems:
            raise ConfigurationError(problems)
        self._allowed = frozenset(one.lower() for one in allowed)
        self._own = _origin_of(own) if own else ""

    def own(self, origin: str, host: str) -> bool:
        """Whether it is the console's own: that of its public URL, else the request's Host."""
        if self._own:
            return origin == self._own
        # Without a public URL the scheme is not ours to know: TLS may end at a proxy.
        return bool(host) and origin.partition("://")[2] == host.lower()

    def allows(self, origin: str) -> bool:
        """Whether a page of this origin may use the component."""
        return origin.lower() in self._allowed

    def embedding(self, bound: str, own: str) -> tuple[str, ...]:
        """Those whose page may hold the component of a session: the one that it is bound to, or
        without that all of the list; and ours, `own` where the console has no public URL."""
        return (*((bound.lower(),) if bound else sorted(self._allowed)), self._own or own)

    def answer_headers(self, origin: str) -> dict[str, str]:
        """What lets that page read an answer. Only for an origin that is allowed."""
        return {
            "access-control-allow-origin": origin,
            "access-control-expose-headers": "x-request-id, retry-after",
        }

    def preflight_headers(self, origin: str) -> dict[str, str]:
        """What a browser asks for before the request itself."""
        return self.answer_headers(origin) | _PREFLIGHT

    @property
    def framed(self) -> bool:
        """Whether anybody may put the hosted page into a frame."""
        return bool(self._allowed)

    @property
    def frame_ancestors(self) -> str:
        """Of the hosted page's policy."""
        return " ".join(sorted(self._allowed)) or "'none'"


def _bad(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "is no origin: write it as https://app.example.com"
    if parts.scheme not in ("http", "https") or not host or "*" in text:
        return "is no origin: write each one whole, as https://app.example.com"
    if parts.scheme == "http" and host not in _LOCAL:
        return "is not encrypted: https, or http of localhost while you develop"
    default = {"https": 443, "http": 80}[parts.scheme]
    if text.lower() != _origin_of(text) or port == default or any(c in text for c in " ;,'\""):
        return f"is more than an origin: write {_origin_of(text)}"
    return ""


def _origin_of(url: str) -> str:
    parts = urlsplit(url.lower())
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    default = {"https": 443, "http": 80}.get(parts.scheme)
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"
