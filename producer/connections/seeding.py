"""What the configuration file has to say to the topic: pure.

The file speaks when its entry of a connection is new or has changed since it last spoke; what was
written by a command since then stands until the file's entry changes. It never undoes a revocation.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from producer.connections.ledger import Ledger, Standing
from schemas.codec import CONNECTION, REVOCATION
from schemas.connection import Connection, ConnectionState
from schemas.connection_record import ConnectionRecord, RecordKey, Revocation, Writer


class Plan(NamedTuple):
    """What to write, in order, and what a person should know."""

    writes: list[tuple[RecordKey, bytes]]
    notes: list[tuple[str, str]]


def digest(connection: Connection) -> str:
    """What tells two entries of a connection apart."""
    text = msgspec.json.encode(connection, order="sorted")
    return blake2b(text, digest_size=16).hexdigest()


def plan_seeding(ledger: Ledger, listed: Sequence[Connection], now_us: int, by: str) -> Plan:
    """What of the file is not on the topic yet."""
    plan = Plan([], [])
    for connection in listed:
        _plan_one(ledger, connection, now_us, by, plan)
    return plan


def no_longer_listed(ledger: Ledger, listed: Sequence[Connection]) -> list[tuple[str, str]]:
    """What the file wrote once and says nothing of now, which a person should know."""
    names = {connection.id for connection in listed}
    found = []
    for name in ledger.ids():
        record = ledger.record(name)
        if record is not None and record.written_by is Writer.FILE and name not in names:
            found.append(
                (name, "is no longer in the file and still there: `hookline connections remove`")
            )
    return found


def _plan_one(ledger: Ledger, listed: Connection, now_us: int, by: str, plan: Plan) -> None:
    name = listed.id
    standing, spoken = ledger.standing(name), digest(listed)
    if standing is Standing.UNREADABLE:
        plan.notes.append((name, f"its record cannot be read: {ledger.problem(name)}"))
        return
    if standing is Standing.REVOKED or ledger.revoked(name):
        if listed.state is not ConnectionState.REVOKED:
            plan.notes.append(
                (name, "stays revoked, though the file lists it: take it out of the file")
            )
        return
    out = sorted(ledger.revoked_secrets(name) & {secret.name for secret in listed.secrets})
    if out:
        plan.notes.append((name, f"secret {', '.join(out)} stays revoked: take it out of the file"))
    before = ledger.record(name)
    if before is not None and before.file_digest == spoken:
        return
    if listed.state is ConnectionState.REVOKED:
        revocation = Revocation(
            environment=listed.environment, connection=name, revoked_at_us=now_us, revoked_by=by
        )
        key = RecordKey(listed.environment, name, revocation=True)
        plan.writes.append((key, REVOCATION.encode(revocation)))
    record = ConnectionRecord(
        connection=listed,
        written_by=Writer.FILE,
        changed_at_us=now_us,
        changed_by=by,
        file_digest=spoken,
    )
    plan.writes.append((RecordKey(listed.environment, name), CONNECTION.encode(record)))
    if before is not None and before.written_by is not Writer.FILE:
        plan.notes.append((name, "the file has changed: it replaces what a command had written"))
