"""Cursors: where a page ended, for the filters it was made with.

Not signed: a cursor says no more than an id that its holder has seen, and grants nothing, since
each page is asked for with a token. A checksum tells one that was cut short or altered.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from console.api.problems import ApiProblem, Mistake

_VERSION: Final = b"\x01"
_CHECK_BYTES: Final = 8


def make(last: str, filters: Mapping[str, str | None]) -> str:
    """For the page behind `last`."""
    return urlsafe_b64encode(_VERSION + _check(last, filters) + last.encode()).decode().rstrip("=")


def read(cursor: str, filters: Mapping[str, str | None]) -> str:
    """The id that the page before ended with; ApiProblem 422 if it is of other filters, or none."""
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        last = raw[1 + _CHECK_BYTES :].decode("ascii")
    except ValueError:
        raw, last = b"", ""
    if raw[:1] != _VERSION or raw[1 : 1 + _CHECK_BYTES] != _check(last, filters):
        raise ApiProblem(
            "invalid",
            "The cursor is not one that was given out for these filters: begin without it.",
            errors=[Mistake(detail="It is of no page of these filters.", parameter="cursor")],
        )
    return last


def _check(last: str, filters: Mapping[str, str | None]) -> bytes:
    text = msgspec.json.encode([last, sorted(filters.items())])
    return blake2b(text, digest_size=_CHECK_BYTES, person=b"hookline cursor").digest()
