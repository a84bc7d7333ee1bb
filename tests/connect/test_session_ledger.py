"""Which record of a session counts, and what is kept of its token."""

from __future__ import annotations

import string

import pytest
from msgspec.structs import replace

from producer.connect.flow.state import FlowState, Step
from producer.connect.session import (
    Session,
    SessionRefused,
    from_record,
    make_session_token,
    parse_session_token,
)
from producer.connect.session_store import SessionLedger
from schemas.connect_codec import CONNECT_SESSION
from schemas.connect_session import SessionKey
from schemas.errors import CodecError

NOW_US = 1_700_000_000_000_000
SESSION = Session(
    id="abcdefgh0123",
    environment="test",
    digest=bytes(32),
    tenant="acme",
    systems=("plain",),
    created_at_us=NOW_US,
    expires_at_us=NOW_US + 1,
    flow=FlowState(revision=3, secrets={"token": "sealed:a/b/c"}),
)
KEY = SessionKey("test", SESSION.id).encode()


def record(
    revision: int, label: str = "", writer: str = "w", key: bytes = KEY
) -> tuple[bytes, bytes]:
    session = replace(SESSION, label=label, flow=replace(SESSION.flow, revision=revision))
    return key, CONNECT_SESSION.encode(session.to_record(writer))


def ledger() -> SessionLedger:
    return SessionLedger("test", lambda: NOW_US)


def test_a_session_is_read_as_it_was_written() -> None:
    kept = CONNECT_SESSION.decode(CONNECT_SESSION.encode(SESSION.to_record("w")))
    assert from_record(kept) == SESSION
    assert kept.revision == 3


def test_of_two_with_one_revision_the_first_counts_whatever_follows() -> None:
    found = ledger()
    for offset, one in enumerate(
        [record(1), record(2, "winner"), record(2, "loser"), record(1, "late")]
    ):
        found.apply(*one, offset)
    assert found.kept[SESSION.id].session.label == "winner"
    assert list(found.counted) == [0, 1]
    found.apply(*record(3, "next"), 9)
    assert found.kept[SESSION.id].session.label == "next"


def test_after_compaction_what_is_left_counts() -> None:
    found = ledger()
    found.apply(*record(7, "last"), 70)
    assert found.kept[SESSION.id].session.label == "last"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b""),
        (b"", b""),
        (b"test/short", record(1)[1]),
        (b"other/abcdefgh0123", record(1)[1]),
        (b"test/abcdefgh0123/x", record(1)[1]),
        (KEY, b"rubbish"),
        (SessionKey("test", "zzzzzzzzzzzz").encode(), record(1)[1]),
    ],
)
def test_what_is_none_of_ours_changes_nothing(key: bytes | None, value: bytes) -> None:
    found = ledger()
    assert found.apply(key, value, 0) is None
    assert found.kept == {}


def test_a_flow_that_cannot_be_read_is_told_without_its_text() -> None:
    odd = replace(SESSION.to_record("w"), flow='{"revision": "canary"}')
    with pytest.raises(CodecError) as refused:
        from_record(odd)
    assert "canary" not in str(refused.value)


def test_the_ledger_is_bounded_and_forgets_what_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.connect.session_store.MAX_SESSIONS", 2)
    found = SessionLedger("test", lambda: NOW_US + 10)
    for number, step in enumerate([Step.CONNECTED, Step.DETAILS, Step.DETAILS]):
        one = replace(SESSION, id=f"{number:012d}", flow=FlowState(revision=1, step=step))
        key = SessionKey("test", one.id).encode()
        found.apply(key, CONNECT_SESSION.encode(one.to_record("w")), number)
    assert list(found.kept) == ["000000000001", "000000000002"]
    one = replace(SESSION, id="9" * 12)
    found.apply(SessionKey("test", one.id).encode(), CONNECT_SESSION.encode(one.to_record("w")), 9)
    assert (len(found.kept), found.ignored) == (2, 1)


def test_a_token_is_known_by_its_digest_and_every_change_is_found() -> None:
    token, kept = make_session_token("test")
    text = token.reveal()
    assert parse_session_token(text) == kept
    assert text.startswith(f"hc_test_{kept.id}")
    assert len(kept.digest) == 32
    for at in range(len("hc_test_"), len(text)):
        other = next(c for c in string.ascii_letters if c != text[at])
        with pytest.raises(SessionRefused) as refused:
            parse_session_token(text[:at] + other + text[at + 1 :])
        assert refused.value.reason == "unknown"
        assert text not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "hc_", "hl_test_" + "a" * 42, "x" * 500, "hc_te st_" + "a" * 46]
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(SessionRefused):
        parse_session_token(text)
