"""When the file has its say, and when it has not."""

from __future__ import annotations

from msgspec.structs import replace

from producer.connections.ledger import Ledger, Standing
from producer.connections.seeding import no_longer_listed, plan_seeding
from schemas.connection import Connection, ConnectionState
from schemas.connection_record import Writer
from tests.connections.making import ENVIRONMENT, connection, record, revocation

FILE = connection()


def seeded(ledger: Ledger, *listed: Connection) -> list[str]:
    """Let the file speak; the notes."""
    plan = plan_seeding(ledger, listed, 1, "hookline.yaml")
    for key, value in plan.writes:
        ledger.apply(key.encode(), value, ledger.next_offset)
    assert plan_seeding(ledger, listed, 2, "hookline.yaml").writes == []
    return [f"{name} {note}" for name, note in plan.notes]


def ledger_of(*records: tuple[bytes, bytes]) -> Ledger:
    ledger = Ledger(ENVIRONMENT)
    for key, value in records:
        ledger.apply(key, value, ledger.next_offset)
    return ledger


def test_what_is_not_there_is_written_once() -> None:
    ledger = ledger_of()
    assert seeded(ledger, FILE) == []
    assert ledger.servable("acme") == FILE


def test_what_the_file_wrote_follows_the_file() -> None:
    ledger = ledger_of(record(FILE, Writer.FILE, FILE))
    changed = replace(FILE, tenant="other")
    assert seeded(ledger, changed) == []
    assert ledger.servable("acme") == changed


def test_what_a_command_changed_stands_while_the_file_s_entry_is_the_same() -> None:
    changed = replace(FILE, tenant="by-command")
    ledger = ledger_of(record(changed, Writer.COMMAND, FILE))
    assert seeded(ledger, FILE) == []
    assert ledger.servable("acme") == changed


def test_the_file_has_its_say_again_when_its_entry_changes_and_it_is_told() -> None:
    ledger = ledger_of(record(replace(FILE, tenant="by-command"), Writer.COMMAND, FILE))
    changed = replace(FILE, tenant="new-in-file")
    (note,) = seeded(ledger, changed)
    assert "replaces what a command had written" in note
    assert ledger.servable("acme") == changed
    # Back to what it was before is a change as any other.
    seeded(ledger, FILE)
    assert ledger.servable("acme") == FILE


def test_a_revoked_connection_stays_so_though_the_file_lists_it_or_changes() -> None:
    ledger = ledger_of(record(FILE, Writer.FILE, FILE), revocation())
    for listed in (FILE, replace(FILE, tenant="other")):
        (note,) = seeded(ledger, listed)
        assert "stays revoked" in note
        assert ledger.standing("acme") is Standing.REVOKED


def test_a_revoked_secret_stays_so_though_the_file_lists_it_or_changes() -> None:
    both = connection(refs={"old": "env:OLD", "new": "env:NEW"})
    ledger = ledger_of(record(both, Writer.FILE, both), revocation(secret="old"))
    (note,) = seeded(ledger, replace(both, tenant="other"))
    assert "secret old stays revoked" in note
    found = ledger.servable("acme")
    assert found is not None
    assert (found.tenant, [s.name for s in found.secrets]) == ("other", ["new"])


def test_what_the_file_revokes_is_revoked_for_good() -> None:
    ledger = ledger_of(record(FILE, Writer.FILE, FILE))
    assert seeded(ledger, replace(FILE, state=ConnectionState.REVOKED)) == []
    assert ledger.revoked("acme")
    (note,) = seeded(ledger, FILE)
    assert "stays revoked" in note


def test_a_record_that_this_build_cannot_read_is_left_alone() -> None:
    key, _ = record(FILE)
    ledger = ledger_of((key, b"of a later version"))
    (note,) = seeded(ledger, FILE)
    assert "cannot be read" in note
    assert ledger.standing("acme") is Standing.UNREADABLE


def test_what_is_no_longer_in_the_file_stays_and_is_told() -> None:
    ledger = ledger_of(record(FILE, Writer.FILE, FILE), record(connection("by-hand")))
    ((name, note),) = no_longer_listed(ledger, [])
    assert name == "acme"
    assert note.startswith("is no longer in the file")
    assert no_longer_listed(ledger, [FILE]) == []
    assert ledger.servable("acme") == FILE
