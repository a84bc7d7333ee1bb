"""The second line of defence: takes secrets out of text that is about to leave the process.

The first line is `Secret`, which never writes its value. What gets here is a mistake or another
library's text, so a false alarm costs a masked word and a miss costs a secret.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus

from credentials.secret import MASK, Secret

#: Shorter values are not looked for: masking every "ab" would hide the log and guard nothing.
MIN_SECRET_CHARS: Final = 4


class _Pattern(NamedTuple):
    """`needles`: lower-case texts of which one must be there before the pattern is tried."""

    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str


# Every quantifier is bounded or of one simple class, so that no text makes matching slow; no
# class takes a quote or a backslash, so that what is JSON stays JSON.
_PATTERNS: Final = (
    _Pattern(("whsec_", "whsk_"), re.compile(r"\b(whsec_|whsk_)[\w+/=-]+"), rf"\1{MASK}"),
    _Pattern(
        ("sha1=", "sha256=", "sha512="),
        re.compile(r"(?i)\b(sha\d{1,3}=)[0-9a-f]{16,}"),
        rf"\1{MASK}",
    ),
    _Pattern(
        ("v0=", "v1=", "v1,", "v1a,"),
        re.compile(r"\b(v[01]a?[=,])(?:[0-9a-f]{32,}|[\w+/-]{43,}={0,2})"),
        rf"\1{MASK}",
    ),
    _Pattern(
        ("authorization",),
        re.compile(
            r"""(?i)\b((?:proxy-)?authorization["'\\]{0,3}\s{0,3}[:=]\s{0,3}["'\\]{0,3}"""
            r"""(?:[a-z][\w-]{0,20}[ ]{1,3})?)[^\s"'\\]+"""
        ),
        rf"\1{MASK}",
    ),
    _Pattern(("bearer",), re.compile(r"(?i)\b(bearer\s{1,3})[\w.~+/=-]{16,}"), rf"\1{MASK}"),
    _Pattern(
        ("://",),
        re.compile(r"""(?i)(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,30}://)[^\s/@"'\\]{1,512}@"""),
        rf"\1{MASK}@",
    ),
    _Pattern(
        ("password", "passwd", "client_secret", "access_token", "refresh_token", "api_key"),
        re.compile(
            r"""(?i)\b((?:[\w.]{0,40}[._])?"""
            r"""(?:password|passwd|client_secret|access_token|refresh_token|api_key)"""
            r"""["'\\]{0,3}\s{0,3}[:=]\s{0,3}["'\\]{0,3})(?!\*)[^\s"'\\,;&]+"""
        ),
        rf"\1{MASK}",
    ),
    _Pattern(("_live_", "_test_"), re.compile(r"\b((?:sk|rk)_(?:live|test)_)\w{8,}"), rf"\1{MASK}"),
    _Pattern(
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        re.compile(r"\b(gh[pousr]_|github_pat_)\w{16,}"),
        rf"\1{MASK}",
    ),
    _Pattern(
        ("hl_",),
        re.compile(r"\b(hl_[a-z0-9][a-z0-9._-]{0,62}_)[A-Za-z0-9]{12,}"),
        rf"\1{MASK}",
    ),
    _Pattern(("eyj",), re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), MASK),
    _Pattern(
        ("private key-----",),
        re.compile(r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)[^-]+"),
        rf"\1{MASK}",
    ),
)

_BY_NEEDLE: Final = tuple(
    (needle, pattern, replacement)
    for needles, pattern, replacement in _PATTERNS
    for needle in needles
)

#: Names whose values are masked wherever they are keys of data or of span attributes.
SECRET_NAMES: Final = frozenset(
    {
        "api_key",
        "authorization",
        "cookie",
        "passwd",
        "password",
        "proxy-authorization",
        "secret",
        "set-cookie",
        "signature",
        "stripe-signature",
        "svix-signature",
        "token",
        "webhook-signature",
        "x-hub-signature",
        "x-hub-signature-256",
    }
)


class _Values:
    """Values of one beginning. Many have the same, such as whsec_: none is looked at by itself."""

    __slots__ = ("sizes", "values")

    def __init__(self) -> None:
        self.values: set[str] = set()
        #: Their lengths, the longest first.
        self.sizes: tuple[int, ...] = ()

    def add(self, value: str) -> None:
        """One more. `found` reads without a lock, so the length comes last, as a whole."""
        self.values.add(value)
        if len(value) not in self.sizes:
            self.sizes = tuple(sorted((*self.sizes, len(value)), reverse=True))

    def found(self, text: str, at: int) -> int:
        """The length of the longest that stands there; 0 if none does."""
        for size in self.sizes:
            if text[at : at + size] in self.values:
                return min(size, len(text) - at)
        return 0


class Redactor:
    """Knows the values in use and the shapes of secrets; one for a whole process.

    The cost of `redact` grows with the text, not with how many values are registered.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The first characters of each value -> the values that begin so.
        self._by_start: dict[str, _Values] = {}
        #: Another number: texts that passed before may hold a secret now.
        self.version = 0

    def register(self, secret: Secret) -> None:
        """From now on no text that passes here holds this value, plain or as commonly escaped."""
        value = secret.reveal()
        with self._lock:
            # Registered at each look at a key ring: what is known already costs next to nothing.
            known = self._by_start.get(value[:MIN_SECRET_CHARS])
            if known is not None and value in known.values:
                return
            for form in _forms(value):
                self._by_start.setdefault(form[:MIN_SECRET_CHARS], _Values()).add(form)
            # Last: whoever sees the old number while this goes on looks again.
            self.version += 1

    def redact(self, text: str) -> str:
        """The text without secrets; the same object if there are none."""
        text = self._without_values(text)
        lower = text.lower()
        for needle, pattern, replacement in _BY_NEEDLE:
            if needle in lower:
                text = pattern.sub(replacement, text)
        return text

    def _without_values(self, text: str) -> str:
        by_start = self._by_start
        if not by_start:
            return text
        pieces: list[str] = []
        taken = at = 0
        last = len(text) - MIN_SECRET_CHARS
        while at <= last:
            values = by_start.get(text[at : at + MIN_SECRET_CHARS])
            size = 0 if values is None else values.found(text, at)
            if size:
                pieces += (text[taken:at], MASK)
                at = taken = at + size
            else:
                at += 1
        return "".join((*pieces, text[taken:])) if taken else text


def _forms(value: str) -> set[str]:
    data = value.encode("utf-8", "surrogatepass")
    encoded = base64.b64encode(data).decode()
    forms = {
        value,
        value.strip(),
        repr(value)[1:-1],
        repr(data)[2:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value, safe="", errors="replace"),
        quote(value, errors="replace"),
        quote_plus(value, errors="replace"),
        encoded,
        encoded.rstrip("="),
        base64.urlsafe_b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode().rstrip("="),
        data.hex(),
    }
    # A Standard Webhooks secret is as secret without its prefix.
    forms |= {form.partition("_")[2] for form in (value,) if form.startswith(("whsec_", "whsk_"))}
    # A key of several lines may be written line by line; its BEGIN and END lines are public.
    if "\n" in value:
        lines = (line.strip() for line in value.splitlines())
        forms |= {line for line in lines if len(line) >= 16 and not line.startswith("-----")}
    return {form for form in forms if len(form) >= MIN_SECRET_CHARS}
