"""The audit log: an intent before, a result after, and what is between them when things break."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from console.access.auditing import audited
from console.access.sessions import Visitor
from credentials.audit_log import Actor, AuditLog, Change
from credentials.token_check import Admission
from schemas.access_codec import AUDIT
from schemas.audit import AuditRecord, Phase, changes
from schemas.errors import AuditUnavailable, CodecError, NotAcknowledged, StoreUnavailable
from tests.connections.fleet import until

ALICE = Actor(who="alice@desk", via="command", from_where="desk")


class Topic:
    """A topic that may be away."""

    def __init__(self) -> None:
        self.written: list[AuditRecord] = []
        self.away = False

    def write(self, key: bytes, value: bytes | None) -> int:
        if self.away:
            raise NotAcknowledged("Kafka did not confirm")
        record = AUDIT.decode(value or b"")
        assert record.change_id == key
        self.written.append(record)
        return len(self.written) - 1


class Desk:
    def __init__(self, **more: Any) -> None:
        self.topic = Topic()
        self.warned: list[str] = []
        self.log = AuditLog(
            self.topic,
            "test",
            redact=lambda text: text.replace("hunter2", "***"),
            warn=self.warned.append,
            now_us=lambda: 1_000_000,
            **more,
        )


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_intent_is_there_before_the_change_and_the_result_after(desk: Desk) -> None:
    with desk.log.change(ALICE, "connection.pause", target="acme", connection="acme") as change:
        assert [record.phase for record in desk.topic.written] == [Phase.INTENT]
        change.note(gateways=3)
    intent, result = desk.topic.written
    assert (result.phase, result.details, result.error_type) == (Phase.DONE, {"gateways": "3"}, "")
    assert intent.change_id == result.change_id
    assert intent.request_id == result.request_id == change.request_id
    assert (intent.who, intent.action, intent.target) == ("alice@desk", "connection.pause", "acme")


def test_a_change_that_fails_says_so_by_the_kind_of_error_and_not_by_its_text(desk: Desk) -> None:
    with pytest.raises(StoreUnavailable), desk.log.change(ALICE, "dead_letter.discard"):
        raise StoreUnavailable("the password hunter2 is wrong")
    result = desk.topic.written[-1]
    assert (result.phase, result.error_type) == (Phase.FAILED, "StoreUnavailable")
    assert "hunter2" not in str(desk.topic.written)


def test_what_cannot_be_written_down_is_not_done(desk: Desk) -> None:
    desk.topic.away = True
    with (
        pytest.raises(AuditUnavailable, match=r"nothing was changed.*did not confirm"),
        desk.log.change(ALICE, "connection.resume"),
    ):
        pytest.fail("it was done")


@pytest.mark.parametrize(("required", "urgent"), [(True, True), (False, False)])
def test_a_revocation_is_done_all_the_same_and_the_gap_is_said(
    required: bool, urgent: bool
) -> None:
    desk = Desk(required=required)
    desk.topic.away = True
    with desk.log.change(ALICE, "connection.revoke", target="acme", urgent=urgent):
        done = True
    assert done
    assert len(desk.warned) == 2
    assert "without a record" in desk.warned[0]
    assert "`unknown`" in desk.warned[1]


def test_a_revocation_does_not_wait_for_a_log_that_is_stuck(desk: Desk) -> None:
    stuck, log = threading.Event(), desk.log
    write = desk.topic.write

    def late(key: bytes, value: bytes | None) -> int:
        stuck.wait(60)
        return write(key, value)

    desk.topic.write = late  # type: ignore[method-assign]
    change = log.begin(ALICE, "token.revoke", target="Ab3dEf7h", urgent=True)
    assert "did not take the intent within 1 s" in desk.warned[0]
    stuck.set()
    log.end(change)
    until(lambda: len(desk.topic.written) == 2)
    assert {record.phase for record in desk.topic.written} == {Phase.INTENT, Phase.DONE}
    assert [one.outcome for one in changes(desk.topic.written)] == ["done"]


def test_a_result_that_cannot_be_written_undoes_nothing(desk: Desk) -> None:
    with desk.log.change(ALICE, "connection.resume"):
        desk.topic.away = True
    assert len(desk.warned) == 1
    assert [change.outcome for change in changes(desk.topic.written)] == ["unknown"]


@given(st.text(), st.dictionaries(st.text(), st.text(), max_size=50))
def test_whatever_is_noted_fits_and_holds_no_value_that_is_known(
    text: str, details: dict[str, str]
) -> None:
    desk = Desk()
    with desk.log.change(ALICE, "token.create", target=f"hunter2{text}", details=details) as change:
        change.note(more=f"{text}hunter2" * 50)
    assert "hunter2" not in str(desk.topic.written)
    assert all(len(record.target) <= 256 for record in desk.topic.written)


def test_changes_are_put_together_whatever_came_between(desk: Desk) -> None:
    one = desk.log.begin(ALICE, "connection.pause", target="1")
    two = desk.log.begin(ALICE, "connection.pause", target="2")
    desk.log.end(two, ValueError())
    desk.log.end(one)
    desk.log.begin(ALICE, "connection.pause", target="3")
    found = changes(desk.topic.written)
    assert [(c.intent.target, c.outcome) for c in found] == [
        ("1", "done"), ("2", "failed"), ("3", "unknown"),
    ]  # fmt: skip
    # One whose intent is older than what was read.
    assert [c.outcome for c in changes(desk.topic.written[2:])] == ["failed", "done", "unknown"]


@given(st.binary(max_size=100))
def test_bytes_that_are_no_record_raise_nothing_but_ours(data: bytes) -> None:
    start = AUDIT.encode(
        AuditRecord(
            change_id=bytes(16), phase=Phase.DONE, at_us=1, environment="e", who="w", action="a.b"
        )
    )[:10]
    with pytest.raises(CodecError):
        AUDIT.decode(data)
    with contextlib.suppress(CodecError):
        AUDIT.decode(start + data)


class FakeGate:
    def __init__(self, audit: AuditLog | None) -> None:
        self.audit = audit


def request_of(audit: AuditLog | None) -> Request:
    admission = Admission(
        token_id="Ab3dEf7h", name="ci", environment="test", scopes=frozenset(), expires_at_us=2
    )
    visitor = Visitor(admission=admission, csrf="x", from_where="192.0.2.7")
    state = {"visitor": visitor, "gate": FakeGate(audit), "page_id": b"p" * 16}
    return Request({"type": "http", "state": state, "headers": []})


def test_a_change_from_the_console_names_the_token_the_address_and_the_page(desk: Desk) -> None:
    async def change() -> Change:
        async with audited(request_of(desk.log), "parked.retry", target="k") as change:
            change.note(done=2)
        return change

    asyncio.run(change())
    result = desk.topic.written[-1]
    assert (result.who, result.who_name, result.via) == ("Ab3dEf7h", "ci", "console")
    assert (result.from_where, result.request_id) == ("192.0.2.7", b"p" * 16)
    assert (result.phase, result.details) == (Phase.DONE, {"done": "2"})


def test_a_browser_that_goes_away_in_the_middle_is_told_as_a_failure(desk: Desk) -> None:
    async def cut_off() -> None:
        # As Starlette does it: what is awaited in this scope is cancelled again and again.
        with anyio.CancelScope() as scope:
            async with audited(request_of(desk.log), "parked.retry"):
                scope.cancel()
                await asyncio.sleep(60)

    asyncio.run(cut_off())
    assert [record.phase for record in desk.topic.written] == [Phase.INTENT, Phase.FAILED]


def test_a_console_without_an_audit_log_changes_nothing() -> None:
    async def change() -> None:
        async with audited(request_of(None), "parked.retry"):
            pytest.fail("it was done")

    with pytest.raises(AuditUnavailable):
        asyncio.run(change())
