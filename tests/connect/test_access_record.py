"""The record of how to get at a system: beside the connection's own, and no matter to gateways."""

from __future__ import annotations

import pytest

from producer.connections.ledger import Ledger, Standing
from schemas.codec import CONNECTION
from schemas.connect_codec import CONNECTION_ACCESS
from schemas.connection import Connection
from schemas.connection_access import ConnectionAccess
from schemas.connection_record import ConnectionRecord, RecordKey, Writer

ACCESS = ConnectionAccess(
    connection="acme-github",
    environment="test",
    system="github",
    values={"repository": "acme/shop"},
    credentials={"token": "sealed:acme/acme-github/token"},
    webhook_id="17",
    changed_at_us=1_700_000_000_000_000,
)
KEY = RecordKey("test", "acme-github", access=True)
RECORD = ConnectionRecord(
    connection=Connection(id="acme-github", tenant="acme", provider="github", environment="test"),
    written_by=Writer.CONNECT,
    changed_at_us=1,
)


def test_it_is_read_as_it_was_written() -> None:
    assert CONNECTION_ACCESS.decode(CONNECTION_ACCESS.encode(ACCESS)) == ACCESS
    assert KEY.encode() == b"test/acme-github/access"
    assert RecordKey.decode(KEY.encode()) == KEY


@pytest.mark.parametrize("first", ["access", "connection"])
def test_a_ledger_has_both_in_whatever_order_they_come(first: str) -> None:
    ledger = Ledger("test")
    records = [
        (KEY.encode(), CONNECTION_ACCESS.encode(ACCESS)),
        (RecordKey("test", "acme-github").encode(), CONNECTION.encode(RECORD)),
    ]
    for offset, (key, value) in enumerate(records if first == "access" else reversed(records)):
        assert ledger.apply(key, value, offset) == "acme-github"
    assert ledger.access("acme-github") == ACCESS
    assert ledger.standing("acme-github") is Standing.ACTIVE
    assert ledger.keys("acme-github") == [RecordKey("test", "acme-github"), KEY]
    ledger.apply(KEY.encode(), None, 2)
    assert ledger.access("acme-github") is None
    assert ledger.standing("acme-github") is Standing.ACTIVE


def test_an_access_alone_is_no_connection() -> None:
    ledger = Ledger("test")
    ledger.apply(KEY.encode(), CONNECTION_ACCESS.encode(ACCESS), 0)
    assert "acme-github" not in ledger
    assert ledger.ids() == []
    assert ledger.servable("acme-github") is None


@pytest.mark.parametrize("value", [b"", b"rubbish", CONNECTION.encode(RECORD)])
def test_one_that_cannot_be_read_is_counted_and_harms_nothing(value: bytes) -> None:
    ledger = Ledger("test")
    ledger.apply(RecordKey("test", "acme-github").encode(), CONNECTION.encode(RECORD), 0)
    ledger.apply(KEY.encode(), value, 1)
    assert ledger.access("acme-github") is None
    assert ledger.foreign
    assert ledger.standing("acme-github") is Standing.ACTIVE


def test_a_gateway_keeps_nothing_of_it_and_serves_nothing_anew() -> None:
    ledger = Ledger("test", access=False)
    assert ledger.apply(KEY.encode(), CONNECTION_ACCESS.encode(ACCESS), 3) is None
    assert ledger.next_offset == 4
    assert ledger.access("acme-github") is None
    assert not ledger.values()
    assert not ledger.foreign
