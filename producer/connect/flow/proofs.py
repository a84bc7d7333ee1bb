"""What shows that whoever came back from the other system is who holds the session. Pure.

One and the same random text in two forms: the page that the other system leads back to hands the
long one to the window that opened it, and shows the short one where there is no such window.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

import msgspec

from credentials.secret import Secret

#: Without what is taken for another one when read aloud or typed; no vowels, so no words.
_LETTERS: Final = "23456789BCDFGHJKLMNPQRSTVWXZ"
#: 38 bits, of which a few tries within minutes are allowed.
TYPED_CHARS: Final = 8
_IGNORED: Final = re.compile(r"[\s-]")
_MAX_CHARS: Final = 100


class Proof(msgspec.Struct, frozen=True):
    """For one way back. `typed` is written in two halves."""

    sent: Secret
    typed: Secret
    #: What is kept of both.
    digests: tuple[str, str]


def make_proof(session: str, choose: Callable[[str], str]) -> Proof:
    """A new one, which counts for this session alone."""
    sent = "".join(choose("0123456789ABCDEF") for _ in range(64))
    typed = "".join(choose(_LETTERS) for _ in range(TYPED_CHARS))
    half = TYPED_CHARS // 2
    return Proof(
        sent=Secret(sent),
        typed=Secret(f"{typed[:half]}-{typed[half:]}"),
        digests=(digest(session, sent), digest(session, typed)),
    )


def digest(session: str, presented: str) -> str:
    """What is compared; spaces, dashes and small letters make no difference."""
    text = _IGNORED.sub("", presented[:_MAX_CHARS]).upper()
    own = f"{session}/{text}".encode("utf-8", "surrogatepass")
    return blake2b(own, digest_size=16).hexdigest()
