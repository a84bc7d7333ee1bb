"""What the remote backends share: when an answer is a secret's value, and how an error is worded.

An error is made here and raised outside the except block that led to it: what a client's own error
holds (a request with its token, a document with all its keys) must not stay reachable through it.
"""

from __future__ import annotations

import re
from typing import Final

from credentials.reference import Reference
from credentials.secret import MASK, Secret
from schemas.errors import BackendAway, SecretUnavailable

MAX_SECRET_BYTES: Final = 64 * 1024
_MAX_DETAIL_CHARS: Final = 200
#: A token, a key or an id, and now and then an address. A backend, or a proxy before it, may quote
#: what it was sent, and what we log in with is known to no redactor.
_RANDOM: Final = re.compile(r"""(?=[^\s"'(),\d]*\d)[^\s"'(),]{16,}""")


def unavailable(reference: Reference, why: str) -> SecretUnavailable:
    """The backend has answered, and this is not to be had."""
    return SecretUnavailable(f"{reference} cannot be read: {why}")


def away(reference: Reference, why: str) -> BackendAway:
    """The backend could not be asked."""
    return BackendAway(f"{reference} cannot be read: {why}")


def text_value(reference: Reference, value: object) -> Secret:
    """`value` as a secret; SecretUnavailable, which does not show it, if it cannot be one."""
    if not isinstance(value, str) or not _encodable(value):
        raise unavailable(reference, "it is not UTF-8 text; store binary secrets as base64")
    if not value:
        raise unavailable(reference, "it is empty; write the secret's value there")
    if len(value.encode()) > MAX_SECRET_BYTES:
        raise unavailable(
            reference, f"it is larger than {MAX_SECRET_BYTES} bytes; is it the right one?"
        )
    return Secret(value)


def detail(text: object) -> str:
    """A client's own words without what could be secret, in one line and not too long."""
    line = _RANDOM.sub(MASK, " ".join(str(text).split()))
    return line if len(line) <= _MAX_DETAIL_CHARS else f"{line[:_MAX_DETAIL_CHARS]}…"


def _encodable(value: str) -> bool:
    # JSON can spell half of a surrogate pair.
    return not any("\ud800" <= character <= "\udfff" for character in value)
