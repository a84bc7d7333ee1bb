"""What of a payload and of its headers is shown: nothing that a rule takes out, and nothing unread.

The rules are by name, by place (JSON pointer) and by shape. What cannot be taken apart, so that no
rule could be applied, is not shown; nor is what is too large to be looked through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from credentials.secret import MASK

MAX_PAYLOAD_BYTES: Final = 4 * 1024 * 1024
MAX_VALUES: Final = 200_000
MAX_TEXT_CHARS: Final = 20_000
_INNER_JSON: Final = ("{", "[")

#: In a name, without its punctuation and in small letters.
SECRET_WORDS: Final = (
    *("password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "accesskey"),
    *("privatekey", "credential", "authorization", "cookie", "sessionid", "signature"),
    *("cardnumber", "securitycode"),
)
#: A whole name.
SECRET_NAMES: Final = frozenset(
    {"auth", "bearer", "cvc", "cvv", "iban", "otp", "pan", "pin", "sig", "ssn"}
)
#: Of `{"name": "password", "value": "…"}`.
_NAMING: Final = ("name", "key", "field", "label")

# Each quantifier is bounded or of one simple class, so that no text makes matching slow.
_SHAPES: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\b(hl_[a-z0-9][a-z0-9._-]{0,62}_)[A-Za-z0-9]{12,}", rf"\1{MASK}"),
        (r"\b(whsec_|whsk_)[\w+/=-]+", rf"\1{MASK}"),
        (r"\b((?:sk|rk|pk)_(?:live|test)_)\w{8,}", rf"\1{MASK}"),
        (r"\b(gh[pousr]_|github_pat_|glpat-|xox[a-z]-)[\w-]{10,}", rf"\1{MASK}"),
        (r"\b(AKIA|ASIA)[A-Z0-9]{12,}", rf"\1{MASK}"),
        (r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*", MASK),
        (r"(?i)\b(bearer|basic)(\s{1,3})[\w.~+/=-]{8,}", rf"\1\2{MASK}"),
        (r"(?i)(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,30}://)[^\s/@\"'\\]{1,512}@", rf"\1{MASK}@"),
        (
            r"(?i)([?&#][\w.-]{0,40}(?:token|secret|signature|password|apikey|api_key|sig)"
            r"[\w.-]{0,40}=)[^&#\s\"'<>]+",
            rf"\1{MASK}",
        ),
        (r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)[^-]+", rf"\1{MASK}"),
    )
)
_CARD: Final = re.compile(r"(?<![\d.-])[3-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{3,4}(?![\d.-])")


class RedactionRules(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken out, beside what always is unless `defaults` is off."""

    fields: tuple[str, ...] = ()
    pointers: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    defaults: bool = True
    show_unparsed: bool = False


class _TooMuch(Exception):
    """More values than are looked through."""


class PayloadRedactor:
    """Applies the rules. Pure, but for its time: up to some hundred ms for the largest payloads."""

    def __init__(self, rules: RedactionRules | None = None) -> None:
        rules = rules or RedactionRules()
        self._names = {_plain(name) for name in rules.fields}
        self._defaults = rules.defaults
        self._places = [_parts(pointer) for pointer in rules.pointers]
        self._shapes = [(re.compile(pattern), MASK) for pattern in rules.patterns]
        if rules.defaults:
            self._shapes += _SHAPES
        self._show_unparsed = rules.show_unparsed

    def __call__(self, payload: bytes, content_type: str = "") -> str:
        """The payload as it may be shown, one value a line where it can be taken apart."""
        return _encodable(self._shown(payload, content_type))

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers as they may be shown."""
        return {name: _encodable(self._value(name, value)) for name, value in headers.items()}

    def _shown(self, payload: bytes, content_type: str) -> str:
        if not payload:
            return ""
        if len(payload) > MAX_PAYLOAD_BYTES:
            return _hidden(payload, "too large to be looked through")
        try:
            text = payload.decode("utf-8")
        except UnicodeDecodeError:
            return _hidden(payload, "no text")
        try:
            return self._json(text)
        except (_TooMuch, RecursionError):
            return _hidden(payload, "too much or too deep to be looked through")
        except ValueError:
            pass
        fields = _form(text, content_type)
        if fields is not None:
            shown = ((name, self._value(name, value)) for name, value in fields)
            return "\n".join(f"{self._text(name)} = {value}" for name, value in shown)
        if self._show_unparsed:
            return self._text(text)
        return _hidden(payload, "neither JSON nor a form, so no rule could be applied to a field")

    def secret_name(self, name: str) -> bool:
        """Whether what has this name is taken out."""
        plain = _plain(name)
        if plain in self._names:
            return True
        if not self._defaults:
            return False
        return plain in SECRET_NAMES or any(word in plain for word in SECRET_WORDS)

    def _json(self, text: str) -> str:
        left = [MAX_VALUES]
        found = self._walk(json.loads(text), self._places, left)
        return json.dumps(found, ensure_ascii=False, indent=2)

    def _walk(self, value: Any, places: list[list[str]], left: list[int]) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise _TooMuch
        if isinstance(value, dict):
            named = self._names_a_secret(value)
            return {
                self._text(key): MASK
                if self.secret_name(key) or (named and key.lower() == "value") or _ends(places, key)
                else self._walk(inner, _below(places, key), left)
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [
                MASK if _ends(places, str(n)) else self._walk(inner, _below(places, str(n)), left)
                for n, inner in enumerate(value)
            ]
        if isinstance(value, str):
            return self._string(value, left)
        # Numbers: a card's may be written as one.
        if isinstance(value, int) and not isinstance(value, bool):
            shown = self._text(str(value))
            return value if shown == str(value) else shown
        return value

    def _names_a_secret(self, value: dict[str, Any]) -> bool:
        return any(
            isinstance(name, str) and self.secret_name(name)
            for key, name in value.items()
            if key.lower() in _NAMING
        )

    def _string(self, text: str, left: list[int]) -> str:
        """A text; JSON that is in it (as Slack and Twilio send it) is looked through, too."""
        if text.lstrip()[:1] in _INNER_JSON and len(text) <= MAX_PAYLOAD_BYTES:
            try:
                return json.dumps(self._walk(json.loads(text), [], left), ensure_ascii=False)
            except (_TooMuch, RecursionError):
                return f"(a text of {len(text)} characters, too much to be looked through)"
            except ValueError:
                pass
        return self._text(text)

    def _value(self, name: str, value: str) -> str:
        return MASK if self.secret_name(name) else self._string(value, [MAX_VALUES])

    def _text(self, text: str) -> str:
        if len(text) > MAX_TEXT_CHARS:
            # Not its beginning: what is cut has no shape that could be known.
            return f"(a text of {len(text)} characters, too long to be looked through)"
        for pattern, replacement in self._shapes:
            text = pattern.sub(replacement, text)
        return _CARD.sub(_masked_card, text) if self._defaults else text


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _parts(pointer: str) -> list[str]:
    if not pointer.startswith("/"):
        raise ValueError(f"a JSON pointer starts with /, unlike {pointer!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _ends(places: list[list[str]], name: str) -> bool:
    return any(len(place) == 1 and place[0] in (name, "*") for place in places)


def _below(places: list[list[str]], name: str) -> list[list[str]]:
    return [place[1:] for place in places if len(place) > 1 and place[0] in (name, "*")]


def _form(text: str, content_type: str) -> list[tuple[str, str]] | None:
    """The fields, if this is a form as browsers send it."""
    declared = content_type.startswith("application/x-www-form-urlencoded")
    if not declared and not re.fullmatch(r"[\w.~%+*\[\]-]+=[^\s<>{}\"]*", text, re.ASCII):
        return None
    try:
        return parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=10_000)
    except ValueError:
        return None


def _encodable(text: str) -> str:
    # JSON can spell half of a surrogate pair.
    return text.encode("utf-8", "backslashreplace").decode()


def _hidden(payload: bytes, why: str) -> str:
    return f"({len(payload)} bytes, not shown: {why})"


def _masked_card(match: re.Match[str]) -> str:
    digits = [int(c) for c in match[0] if c.isdigit()]
    doubled = (d if n % 2 == 0 else (2 * d - 9 * (d > 4)) for n, d in enumerate(reversed(digits)))
    return MASK if sum(doubled) % 10 == 0 else match[0]
