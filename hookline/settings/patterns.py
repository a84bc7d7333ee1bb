"""Regular expressions that a person wrote, which must not make matching slow."""

from __future__ import annotations

import re
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Final

_ENDLESS: Final = (constants.MAX_REPEAT, constants.MIN_REPEAT)


def unsafe(pattern: str) -> str:
    """What is wrong with a pattern, with the next step; empty if it may be used."""
    try:
        re.compile(pattern)
        nested = _repeats_a_repeat(parser.parse(pattern), False)
    except (re.error, RecursionError, OverflowError) as error:
        return f"this is no regular expression: {error}"
    if nested:
        return (
            "a repeat without an end inside of another, such as (a+)+, can take for ever on some "
            "texts: give the inner one a bound, such as {1,40}"
        )
    return ""


def _repeats_a_repeat(parsed: Any, inside: bool) -> bool:
    for operation, argument in parsed:
        endless = operation in _ENDLESS and argument[1] is constants.MAXREPEAT
        if endless and inside:
            return True
        if any(_repeats_a_repeat(part, inside or endless) for part in _patterns_in(argument)):
            return True
    return False


def _patterns_in(argument: Any) -> list[Any]:
    if isinstance(argument, parser.SubPattern):
        return [argument]
    if isinstance(argument, tuple | list):
        return [part for one in argument for part in _patterns_in(one)]
    return []
