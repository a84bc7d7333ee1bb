"""What the topic says, whatever the order, and whoever wrote on it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.connections import ledger as ledger_module
from producer.connections.ledger import Ledger, Standing
from schemas.connection import ConnectionState, SecretReference
from schemas.connection_record import RecordKey
from schemas.errors import SecretReferenceError
from tests.connections.making import ENVIRONMENT, connection, record, revocation


def read(*records: tuple[bytes | None, bytes | None]) -> Ledger:
    ledger = Ledger(ENVIRONMENT)
    for offset, (key, value) in enumerate(records):
        ledger.apply(key, value, offset)
    return ledger


def test_a_connection_is_what_its_last_record_says() -> None:
    paused = connection(state=ConnectionState.PAUSED)
    assert read(record(connection())).servable("acme") == connection()
    ledger = read(record(connection()), record(paused))
    assert (ledger.standing("acme"), ledger.servable("acme")) == (Standing.PAUSED, None)
    assert read(record(paused), record(connection())).standing("acme") is Standing.ACTIVE


def test_a_tombstone_takes_it_away() -> None:
    key, value = record(connection())
    ledger = read((key, value), (key, None))
    assert ledger.ids() == []
    assert ledger.values() == []
    assert ledger.next_offset == 2


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_revocation_has_the_last_word_in_every_order(order: tuple[int, ...]) -> None:
    records = [record(connection()), revocation(), record(connection(tenant="other"))]
    ledger = read(*(records[at] for at in order))
    assert ledger.standing("acme") is Standing.REVOKED
    assert ledger.servable("acme") is None


def test_a_revoked_secret_is_out_and_the_others_stay() -> None:
    both = connection(refs={"old": "env:OLD", "new": "env:NEW"})
    for records in ([record(both), revocation(secret="old")],
                    [revocation(secret="old"), record(both)]):  # fmt: skip
        found = read(*records).servable("acme")
        assert found is not None
        assert [secret.name for secret in found.secrets] == ["new"]


def test_a_revocation_that_cannot_be_read_is_one_all_the_same() -> None:
    ledger = read(record(connection()), (revocation()[0], b"rubbish"))
    assert ledger.standing("acme") is Standing.REVOKED


def test_a_record_that_cannot_be_read_never_counts_as_the_one_before_it() -> None:
    key, value = record(connection())
    for bad in (b"", b"rubbish", value[:-1], value + b"x"):
        ledger = read((key, value), (key, bad))
        assert ledger.standing("acme") is Standing.UNREADABLE
        assert ledger.servable("acme") is None
        assert ledger.problem("acme")
    assert read((key, b"rubbish"), (key, value)).servable("acme") == connection()


def test_another_environment_s_records_are_ignored_and_named() -> None:
    ledger = read(record(connection(environment="staging")), record(connection("mine")))
    assert ledger.ids() == ["mine"]
    assert ledger.foreign == {"staging": 1}


def test_a_record_under_the_key_of_another_is_not_served_and_names_both() -> None:
    _, value = record(connection(environment="staging"))
    ledger = read((RecordKey(ENVIRONMENT, "acme").encode(), value))
    assert ledger.servable("acme") is None
    assert "staging/acme" in ledger.problem("acme")
    assert "test/acme" in ledger.problem("acme")


@given(st.none() | st.binary(max_size=60), st.none() | st.binary(max_size=200))
def test_no_record_makes_it_fail(key: bytes | None, value: bytes | None) -> None:
    ledger = read((key, value), record(connection()))
    assert ledger.servable("acme") == connection()


@given(
    st.lists(
        st.sampled_from(
            [
                record(connection()),
                record(connection(refs={"new": "env:NEW"})),
                record(connection(state=ConnectionState.PAUSED)),
                (record(connection())[0], None),
                revocation(),
                revocation(secret="old"),
                (revocation()[0], None),
            ]
        ),
        max_size=12,
    )
)
def test_what_compaction_leaves_says_the_same(
    records: list[tuple[bytes, bytes | None]],
) -> None:
    last = {key: (at, value) for at, (key, value) in enumerate(records)}
    left = [records[at] for at, value in sorted(last.values())]
    whole, compacted = read(*records), read(*left)
    for question in ("ids", "values"):
        assert sorted(getattr(whole, question)()) == sorted(getattr(compacted, question)())
    assert whole.servable("acme") == compacted.servable("acme")
    assert whole.standing("acme") == compacted.standing("acme")


def test_there_is_a_most_and_what_is_beyond_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_CONNECTIONS", 2)
    ledger = read(*(record(connection(f"c{n}")) for n in range(3)), record(connection("c1")))
    assert ledger.ids() == ["c0", "c1"]
    assert list(ledger.foreign) == ["beyond 2 connections"]


@pytest.mark.parametrize("text", ["whsec_c2VjcmV0", "hunter2", "", "env:", ":x", "https://x"])
def test_a_literal_secret_cannot_be_put_into_a_connection_at_all(text: str) -> None:
    with pytest.raises(SecretReferenceError) as caught:
        SecretReference(name="old", ref=text)
    assert len(text) < 5 or text not in str(caught.value)


def test_a_key_is_read_back_as_it_was_written() -> None:
    for key in (
        RecordKey("test", "a.b-c_d"),
        RecordKey("test", "a", True),
        RecordKey("test", "a", True, "2026-11"),
    ):
        assert RecordKey.decode(key.encode()) == key
    for bad in (None, b"", b"a", b"a/", b"a/b/c", b"a/b/revoked/c/d", b"A/b", b"a/\xff", b"a/b\n"):
        assert RecordKey.decode(bad) is None
