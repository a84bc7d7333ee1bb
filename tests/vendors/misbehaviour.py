"""What a vendor's server can be told to do instead of what it should."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

#: What would run, or break out of where it is put, if any page took a text for markup.
SCRIPT: Final = (
    '"><img src=x onerror="window.pwned=1"><script>window.pwned=1</script>\'{{7*7}}${7*7}'
)


class Misbehaviour(StrEnum):
    """How it misbehaves, until it is told to behave again."""

    WRONG_CERTIFICATE = "wrong certificate"
    HANG = "hang"
    SLOW = "it answers as it should when it is told to behave"
    HUGE = "a body of 1 GB"
    ENDLESS = "a body without an end"
    HTML = "HTML instead of JSON"
    FAILING = "500"
    SKEWED = "a clock that is 20 minutes behind"
    SCRIPTED = "markup in every text"
    DROP = "the network drops in the middle of the answer"
    DROP_AFTER = "the work is done, and the network drops before the answer"
    LIMITED = "429"
    ECHO = "an error that quotes all that it was sent"
    REDIRECT = "a redirect to an address inside"


def scripted(value: Any, kept: frozenset[str] = frozenset()) -> Any:
    """JSON with markup behind every text but those under the names `kept`."""
    if isinstance(value, dict):
        return {k: v if k in kept else scripted(v, kept) for k, v in value.items()}
    if isinstance(value, list):
        return [scripted(one, kept) for one in value]
    return f"{value}{SCRIPT}" if isinstance(value, str) else value
