"""A form taken apart: what is no secret, what is one, and what is wrong. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from credentials.secret import Secret
from producer.connect.system import SystemField

MAX_CHARS: Final = 4_000
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
#: A token in the wrong field: a form with a mistake is kept, and this is not.
_LIKE_A_SECRET: Final = re.compile(r"[A-Za-z0-9_+=~-]{24}")
_SUBDOMAIN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """A form that was sent. Values that have a mistake are kept for the customer to mend, those of
    secrets, and what looks like one, are not."""

    values: dict[str, str]
    secrets: dict[str, Secret]
    mistakes: dict[str, str]


def read(
    fields: Sequence[SystemField],
    given: Mapping[str, str],
    filled: Mapping[str, object],
    *,
    elsewhere: bool = False,
) -> Filled:
    """Check what was given. `filled`: the secrets that are there already; one left empty stays,
    unless `elsewhere`: they would go to another address than they were entered for.

    What is no field is not looked at.
    """
    found = Filled(values={}, secrets={}, mistakes={})
    for field in fields:
        text = given.get(field.id, "")
        text = text.strip() if field.trim else text
        if field.secret and not text and field.id in filled:
            if elsewhere:
                found.mistakes[field.id] = f"The address is another one: enter {field.label} again."
            continue
        if text or not field.secret:
            mistake = _mistake(field, text)
        else:
            mistake = f"{field.label} is needed." if field.required else ""
        if mistake:
            found.mistakes[field.id] = mistake
        if not field.secret:
            kept = not _CONTROL.search(text) and not (mistake and _LIKE_A_SECRET.search(text))
            found.values[field.id] = text[:MAX_CHARS] if kept else ""
        elif text and not mistake:
            found.secrets[field.id] = Secret(text)
    return found


def _mistake(field: SystemField, text: str) -> str:
    if not text:
        return f"{field.label} is needed." if field.required else ""
    if len(text) > MAX_CHARS:
        return f"This is too long: {field.label} has at most {MAX_CHARS} characters."
    if _CONTROL.search(text):
        return "There is a character in it that cannot be seen. Copy it again."
    if field.options and text not in {option.value for option in field.options}:
        return "Choose one of the list."
    if field.kind == "url" and not _is_url(text):
        return field.mismatch or "Write an address such as https://example.com."
    if field.kind == "subdomain" and not _SUBDOMAIN.fullmatch(text):
        return field.mismatch or "Only letters, digits and hyphens; no dots, no https://."
    if field.kind == "email" and not _EMAIL.fullmatch(text):
        return field.mismatch or "Write an e-mail address such as name@example.com."
    if field.pattern and re.fullmatch(field.pattern, text, re.ASCII) is None:
        return field.mismatch or f"This does not look like {field.label}."
    return ""


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    bare = parts.username is None and not parts.query and not parts.fragment
    good = parts.scheme in ("https", "http") and bool(parts.hostname) and port != 0
    return good and bare and not re.search(r"\s", text)
