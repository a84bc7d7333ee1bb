"""What is said to the customer: every failure has all four parts, and nothing of what was sent."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from producer.connect import validation
from producer.connect.flow import failures, form
from producer.connect.flow.progress import checks_of
from producer.connect.flow.state import CheckState
from producer.connect.system import System
from producer.outgoing.answers import FailureKind, OutgoingAnswer, OutgoingFailure
from tests.connect.systems import system

NOW_S = 1_700_000_000.0
SCOPED = system(
    validation={
        "path": "/me", "account": "/login", "present": ["/login"], "scopes_header": "X-Scopes",
        "scopes": ["read", "hooks|admin"],
        "meanings": [
            {"status": 403, "contains": "SAML", "code": "single_sign_on", "what": "W", "why": "Y",
             "next": "N"},
            {"status": 200, "contains": "revoked", "code": "token_revoked", "what": "W",
             "why": "Y", "next": "N"},
        ],
    },
)  # fmt: skip


def answer(
    status: int = 200, body: bytes = b'{"login": "octocat"}', **headers: str
) -> OutgoingAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named.setdefault("date", formatdate(NOW_S))
    return OutgoingAnswer(
        status=status, headers=named, body=body, took_ms=12, url="https://a.example"
    )


def judged(found: OutgoingAnswer | OutgoingFailure, of: System = SCOPED) -> validation.Seen:
    return validation.judge(of, checks_of(of), found, (), NOW_S)


@pytest.mark.parametrize("kind", FailureKind)
def test_each_kind_of_no_answer_is_explained_at_a_check(kind: FailureKind) -> None:
    seen = judged(OutgoingFailure(kind, "text", "erp.acme.example"))
    assert seen.problem is not None
    for text in (seen.problem.code, seen.problem.what, seen.problem.why, seen.problem.next):
        assert text
        assert "{" not in text
    last = seen.checks[-1]
    assert last.state is CheckState.FAILED
    assert last.explanation == seen.problem
    assert all(check.state is CheckState.PASSED for check in seen.checks[:-1])


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        (FailureKind.ADDRESS_REFUSED, "address"),
        (FailureKind.NAME_UNKNOWN, "dns"),
        (FailureKind.CERTIFICATE, "tls"),
        (FailureKind.TIMEOUT, "reach"),
        (FailureKind.TOO_LARGE, "reach"),
    ],
)
def test_it_stops_at_the_check_that_failed(kind: FailureKind, at: str) -> None:
    assert judged(OutgoingFailure(kind, "text", "h")).checks[-1].id == at


@pytest.mark.parametrize(
    ("status", "body", "code", "at"),
    [
        (401, b"secret-echo", "credentials_refused", "credentials"),
        (403, b"secret-echo", "permission_missing", "permissions"),
        (403, b"needs saml sso", "single_sign_on", "permissions"),
        (404, b"secret-echo", "not_found", "reach"),
        (429, b"", "rate_limited", "reach"),
        (500, b"", "system_failing", "reach"),
        (302, b"", "answer_unexpected", "reach"),
        (200, b"<html>sign in</html>", "not_the_system", "reach"),
        (200, b'{"error": "token_revoked"}', "token_revoked", "credentials"),
        (200, b"[" * 100_000, "not_the_system", "reach"),
        (200, b"\xff\xfe", "not_the_system", "reach"),
    ],
)
def test_each_bad_answer_is_explained(status: int, body: bytes, code: str, at: str) -> None:
    seen = judged(answer(status, body))
    assert seen.problem is not None
    assert (seen.problem.code, seen.checks[-1].id) == (code, at)
    assert "secret-echo" not in str(seen)


def test_a_rate_limit_says_how_long_to_wait() -> None:
    seen = judged(answer(429, retry_after="300"))
    assert seen.problem is not None
    assert "5 minutes" in seen.problem.next
    assert seen.problem.retry
    for odd in ("", "-5", "later", "9" * 40, "Fri, 31 Dec 1999 23:59:59 GMT"):
        again = judged(answer(429, retry_after=odd))
        assert again.problem is not None
        assert again.problem.next


def test_the_missing_scope_is_named_and_either_of_two_is_enough() -> None:
    seen = judged(answer(x_scopes="read, repo"))
    assert seen.problem is not None
    assert seen.problem.code == "scopes_missing"
    assert "hooks|admin" not in seen.problem.what
    assert "hooks or admin" in seen.problem.what
    assert seen.problem.field == "token"
    assert judged(answer(x_scopes="read,admin")).problem is None
    silent = judged(answer())
    assert silent.problem is None
    assert {c.id: c.state for c in silent.checks}["permissions"] is CheckState.SKIPPED


@pytest.mark.parametrize(("off_s", "fails"), [(0, False), (200, False), (600, True), (-600, True)])
def test_a_clock_that_is_far_off_is_told(off_s: float, fails: bool) -> None:
    seen = judged(answer(date=formatdate(NOW_S + off_s), x_scopes="read hooks"))
    assert (seen.problem is not None) == fails
    if seen.problem is not None:
        assert seen.problem.code == "clock_skew"
        assert ("ahead" in seen.problem.what) == (off_s > 0)


def test_a_good_answer_passes_all_and_says_whose_account_it_is() -> None:
    seen = judged(answer(body=b'{"login": "octo\\u0000cat\\n"}', x_scopes="read hooks"))
    assert seen.problem is None
    assert seen.account == "octocat"
    assert [check.state for check in seen.checks] == [CheckState.PASSED] * 7
    assert judged(answer(date="rubbish", x_scopes="read hooks")).checks[-1].state is (
        CheckState.SKIPPED
    )


def test_a_meaning_of_an_entry_comes_before_ours() -> None:
    one = failures.answer(SCOPED, SCOPED.validation.meanings if SCOPED.validation else (), 403,
                          {}, b"SAML")  # fmt: skip
    assert (one.code, one.what) == ("single_sign_on", "W")


FIELDS = system(how="manual", source="field").all_fields()


@pytest.mark.parametrize(
    ("given", "mistaken"),
    [
        ({"address": "https://a.example", "token": "12345678"}, set()),
        ({"address": " https://a.example ", "token": " 12345678 "}, set()),
        ({"address": "a.example", "token": "12345678"}, {"address"}),
        ({"address": "https://user:pw@a.example", "token": "12345678"}, {"address"}),
        ({"address": "javascript:alert(1)", "token": "12345678"}, {"address"}),
        ({"address": "https://[::1", "token": "12345678"}, {"address"}),
        ({"address": "https://a.example:99999", "token": "12345678"}, {"address"}),
        ({"address": "https://a.example", "token": "short"}, {"token"}),
        ({"address": "https://a.example", "token": "1234\n5678"}, {"token"}),
        ({"address": "https://a.example", "token": "x" * 5_000}, {"token"}),
        ({"address": "https://a.example/\x00", "token": "12345678"}, {"address"}),
        ({"address": "https://a.example/\ud800", "token": "12345678"}, {"address"}),
        ({}, {"address", "token"}),
    ],
)
def test_a_form_is_taken_apart(given: dict[str, str], mistaken: set[str]) -> None:
    filled = form.read(FIELDS[:2], given, {})
    assert set(filled.mistakes) == mistaken
    assert "token" not in filled.values
    assert all(filled.mistakes.values())
    assert ("token" in filled.secrets) == ("token" not in mistaken)


def test_a_secret_that_is_there_may_stay_empty_and_unknown_fields_are_not_looked_at() -> None:
    given = {"address": "https://a.example", "token": "", "admin": "yes"}
    filled = form.read(FIELDS[:2], given, {"token": "sealed:x"})
    assert filled.mistakes == {}
    assert filled.secrets == {}
    assert filled.values == {"address": "https://a.example"}
