"""What an answer to the validation request says of each check: pure, in the order of the lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from producer.connect.calls import Unanswered, document
from producer.connect.flow import failures
from producer.connect.flow.state import Check, CheckState, Explanation
from producer.connect.system import System, Validation
from producer.outgoing.answers import FailureKind, OutgoingAnswer, OutgoingFailure
from producer.providers import json_pointer

#: Signatures are refused beyond 5 minutes (producer/providers); a warning must come before.
MAX_SKEW_S: Final = 240.0
_MAX_ACCOUNT_CHARS: Final = 120

_FAILS: Final[Mapping[FailureKind, str]] = {
    FailureKind.ADDRESS_MALFORMED: "address",
    FailureKind.ADDRESS_REFUSED: "address",
    FailureKind.REQUEST_MALFORMED: "credentials",
    FailureKind.NAME_UNKNOWN: "dns",
    FailureKind.CERTIFICATE: "tls",
    FailureKind.TLS: "tls",
}
#: Passed while the request was under way.
_STAGED: Final = frozenset({"dns", "tls"})


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Each check as it turned out; `problem` is that of the first that failed."""

    checks: tuple[Check, ...]
    problem: Explanation | None = None
    account: str = ""
    scopes: tuple[str, ...] = ()
    kept: dict[str, str] = {}


def running(check: Check) -> Check:
    """It is being looked at."""
    return replace(check, state=CheckState.RUNNING, explanation=None, detail="", took_ms=None)


def judge(
    system: System,
    checks: Sequence[Check],
    found: OutgoingAnswer | OutgoingFailure | Unanswered,
    granted: Sequence[str],
    now_s: float,
    proven: AbstractSet[str] | None = None,
) -> Seen:
    """`granted`: the scopes that OAuth gave; `now_s`: ours, when the answer was there (Unix s);
    `proven`: of a request without an answer, the checks that had passed by then, if it is known."""
    validation = system.validation
    if validation is None:
        return Seen(checks=tuple(checks))
    if isinstance(found, OutgoingFailure):
        at = _FAILS.get(found.kind, "reach")
        if found.kind is FailureKind.TIMEOUT and proven is not None and "dns" not in proven:
            at = "dns"
        explained = failures.failure(found.kind, found.host, system)
        return _failed(checks, at, explained, proven=proven)
    if isinstance(found, Unanswered):
        code = found.explanation.code
        named = {"address_malformed": "address", "address_refused": "address",
                 "name_unknown": "dns", "certificate": "tls", "tls": "tls"}  # fmt: skip
        at = named.get(code, "reach" if found.answer is None else "credentials")
        return _failed(checks, at, found.explanation)
    answered = document(found)
    bad = _bad(system, validation, found, answered)
    if bad is not None:
        return _failed(checks, *bad, took_ms=found.took_ms)
    account = _account(answered, validation)
    details = {"reach": f"{found.took_ms} ms", "credentials": account}
    scopes, missing = _scopes(validation, found, granted)
    if missing:
        return _failed(
            checks, "permissions", failures.missing_scopes(system, missing), took_ms=found.took_ms
        )
    skipped = {"permissions"} if validation.scopes and scopes is None else set()
    skew = _skew_s(found, now_s)
    if skew is None:
        skipped.add("clock")
    elif abs(skew) > MAX_SKEW_S and validation.clock:
        return _failed(checks, "clock", failures.clock_skew(system, skew), took_ms=found.took_ms)
    done = [
        replace(
            check,
            state=CheckState.SKIPPED if check.id in skipped else CheckState.PASSED,
            detail=details.get(check.id, ""),
            explanation=None,
            took_ms=found.took_ms if check.id == "reach" else None,
        )
        for check in checks
    ]
    return Seen(
        checks=tuple(done),
        account=account,
        scopes=tuple(scopes or ()),
        kept=validation.kept(answered),
    )


def _bad(
    system: System, validation: Validation, answer: OutgoingAnswer, answered: Any
) -> tuple[str, Explanation] | None:
    """Which check an answer fails, and why; None for a good one."""
    if answer.status in validation.ok:
        if all(_there(answered, pointer) for pointer in validation.present):
            return None
        # Some say in a good answer that it is a bad one.
        meaning = failures.meaning(validation.meanings, answer.status, answer.headers, answer.body)
        if meaning is None:
            return "reach", failures.not_its_answer(system)
    explained = failures.answer(
        system, validation.meanings, answer.status, answer.headers, answer.body
    )
    if answer.status == 403 and validation.scopes:
        return "permissions", explained
    return ("credentials" if answer.status in (200, 401, 403) else "reach"), explained


def _failed(
    checks: Sequence[Check],
    at: str,
    explanation: Explanation,
    took_ms: int | None = None,
    proven: AbstractSet[str] | None = None,
) -> Seen:
    if at not in {check.id for check in checks}:
        at = "credentials"
    done: list[Check] = []
    for check in checks:
        if check.id == at:
            failed = replace(
                check, state=CheckState.FAILED, explanation=explanation, took_ms=took_ms, detail=""
            )
            done.append(failed)
            break
        # A server that nobody could connect to has shown nothing of its encryption.
        known = proven is None or check.id in proven or check.id not in _STAGED
        state = CheckState.PASSED if known else CheckState.WAITING
        done.append(replace(check, state=state, explanation=None, detail=""))
    return Seen(checks=tuple(done), problem=explanation)


def _there(answered: Any, pointer: str) -> bool:
    return json_pointer.resolve(answered, json_pointer.parse(pointer)) is not None


def _account(answered: Any, validation: Validation) -> str:
    if validation.account is None:
        return ""
    found = json_pointer.resolve(answered, json_pointer.parse(validation.account))
    if not isinstance(found, str | int) or isinstance(found, bool):
        return ""
    text = "".join(c for c in str(found) if c.isprintable())
    return text[:_MAX_ACCOUNT_CHARS]


def _scopes(
    validation: Validation, answer: OutgoingAnswer, granted: Sequence[str]
) -> tuple[list[str] | None, list[str]]:
    """What is granted, None if nobody says; and what is missing of it."""
    if not validation.scopes:
        return list(granted), []
    there: list[str] | None = list(granted) or None
    if validation.scopes_header:
        listed = answer.headers.get(validation.scopes_header.lower())
        if listed is not None:
            there = listed.replace(",", " ").split()
    if there is None:
        return None, []
    return there, validation.missing_scopes(there)


def _skew_s(answer: OutgoingAnswer, now_s: float) -> float | None:
    text = answer.headers.get("date", "")
    try:
        theirs = parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None
    return theirs - now_s if theirs is not None else None
