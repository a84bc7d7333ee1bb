"""Marked values, and the search for them in whatever a process has put out.

A value is looked for whole and in halves, in every form that text or bytes are commonly given:
plain, escaped for JSON once and twice, percent-encoded, hex, base64 at each of its three
alignments, UTF-16, backwards.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus

from credentials.seal_key import KEY_BYTES, PREFIX

#: What is shorter says nothing: it would be found by chance.
MIN_NEEDLE_BYTES: Final = 8
_EMPTY: Final = re.compile(rb"\0{64,}")


class Canary(NamedTuple):
    """A marked value. `core` is the random part of it, which nothing else can hold by chance."""

    name: str
    value: str
    core: str

    def forms(self) -> dict[bytes, str]:
        """What to look for, and what form of the value that is."""
        found: dict[bytes, str] = {}
        for what, text in (
            ("", self.value),
            ("first half of ", self.core[: len(self.core) // 2]),
            ("second half of ", self.core[len(self.core) // 2 :]),
        ):
            for form, needle in _forms(text.encode()):
                found.setdefault(needle, f"{what}{self.name}, {form}")
        # The bytes that a base64 secret stands for are as secret.
        if self.value.startswith("whsec_"):
            for form, needle in _forms(base64.b64decode(self.value[6:])):
                found.setdefault(needle, f"key bytes of {self.name}, {form}")
        if self.value.startswith(PREFIX):
            material = base64.urlsafe_b64decode(self.core)[:KEY_BYTES]
            for form, needle in _forms(material):
                found.setdefault(needle, f"key bytes of {self.name}, {form}")
        return {needle: form for needle, form in found.items() if len(needle) >= MIN_NEEDLE_BYTES}


class Found(NamedTuple):
    """A canary where none may be; `around` shows the place without the canary itself."""

    place: str
    canary: str
    around: bytes


def search(places: Mapping[str, bytes], canaries: Iterable[Canary]) -> list[Found]:
    """Every place that holds a canary in any form, each form of it once a place."""
    needles: dict[bytes, str] = {}
    for canary in canaries:
        needles |= canary.forms()
    by_start: dict[bytes, list[bytes]] = {}
    for needle in needles:
        by_start.setdefault(needle[:MIN_NEEDLE_BYTES], []).append(needle)
    found: dict[tuple[str, str], Found] = {}
    for place, data in places.items():
        # Files that are allocated ahead are mostly empty.
        for part in _EMPTY.split(data):
            for at in range(len(part) - MIN_NEEDLE_BYTES + 1):
                for needle in by_start.get(part[at : at + MIN_NEEDLE_BYTES], ()):
                    if part.startswith(needle, at):
                        around = part[max(0, at - 60) : at] + b"<HERE>"
                        found.setdefault(
                            (place, needles[needle]), Found(place, needles[needle], around)
                        )
    return list(found.values())


def _forms(data: bytes) -> Iterable[tuple[str, bytes]]:
    yield "plain", data
    yield "backwards", data[::-1]
    yield "hex", data.hex().encode()
    yield "HEX", data.hex().upper().encode()
    yield "percent", "".join(f"%{byte:02x}" for byte in data).encode()
    yield "PERCENT", "".join(f"%{byte:02X}" for byte in data).encode()
    yield "repr", repr(data)[2:-1].encode()
    for alignment in range(3):
        # Without the characters at both ends that hold bits of the neighbours.
        inner = data[-alignment % 3 :] if alignment else data
        inner = inner[: len(inner) // 3 * 3]
        yield f"base64 at {alignment}", base64.b64encode(inner)
        yield f"base64url at {alignment}", base64.urlsafe_b64encode(inner)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    once, ascii_once = (json.dumps(text, ensure_ascii=to_ascii)[1:-1] for to_ascii in (False, True))
    yield "UTF-16", text.encode("utf-16-le")
    yield "JSON", once.encode()
    yield "JSON in ASCII", ascii_once.encode()
    yield "JSON in JSON", json.dumps(ascii_once)[1:-1].encode()
    yield "JSON in JSON in JSON", json.dumps(json.dumps(ascii_once)[1:-1])[1:-1].encode()
    yield "URL", quote(text, safe="").encode()
    yield "URL's path", quote(text).encode()
    yield "form", quote_plus(text).encode()
    yield "small letters", text.lower().encode()
    yield "capitals", text.upper().encode()
