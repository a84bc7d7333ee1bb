"""The tables of the SQLite store, as steps from one version to the next; a step never changes."""

from __future__ import annotations

import sqlite3
from typing import Final

_V1: Final = """
CREATE TABLE hookline_progress (
    consumer_group TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    next_offset INTEGER,
    PRIMARY KEY (consumer_group, topic, partition)
) WITHOUT ROWID;
CREATE TABLE hookline_seen (
    id BLOB NOT NULL PRIMARY KEY,
    seen_at_s INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX hookline_seen_at ON hookline_seen (seen_at_s);
CREATE TABLE hookline_dead_letters (
    number INTEGER PRIMARY KEY,
    dedupe_id BLOB NOT NULL,
    connection TEXT NOT NULL,
    reason TEXT NOT NULL,
    died_at_us INTEGER NOT NULL,
    letter BLOB NOT NULL
);
CREATE TABLE hookline_store (version INTEGER NOT NULL, consumer_group TEXT NOT NULL);
"""

# Ids are kept by day: expiry then deletes neighbours, and needs no second index. A dead letter's
# number is never used again (AUTOINCREMENT): an operator or the outbox may still mean the old one.
_V2: Final = """
ALTER TABLE hookline_progress ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE hookline_progress ADD COLUMN held_from_s INTEGER;
ALTER TABLE hookline_progress ADD COLUMN done_to INTEGER;
ALTER TABLE hookline_progress ADD COLUMN written_at_s INTEGER;
ALTER TABLE hookline_progress ADD COLUMN idle_from_s INTEGER;
ALTER TABLE hookline_seen RENAME TO hookline_seen_v1;
DROP INDEX hookline_seen_at;
CREATE TABLE hookline_seen (
    day INTEGER NOT NULL,
    id BLOB NOT NULL,
    PRIMARY KEY (day, id)
) WITHOUT ROWID;
INSERT INTO hookline_seen SELECT seen_at_s / 86400, id FROM hookline_seen_v1;
DROP TABLE hookline_seen_v1;
CREATE TABLE hookline_applied (
    id BLOB NOT NULL PRIMARY KEY,
    day INTEGER NOT NULL,
    version INTEGER,
    occurred_at_us INTEGER,
    deleted INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX hookline_applied_day ON hookline_applied (day);
ALTER TABLE hookline_dead_letters RENAME TO hookline_dead_letters_v1;
CREATE TABLE hookline_dead_letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    dedupe_id BLOB NOT NULL,
    connection TEXT NOT NULL,
    event_type TEXT NOT NULL DEFAULT '',
    resource_key TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL,
    died_at_us INTEGER NOT NULL,
    letter BLOB NOT NULL,
    traceparent TEXT NOT NULL DEFAULT '',
    sent INTEGER NOT NULL DEFAULT 0
);
INSERT INTO hookline_dead_letters (number, dedupe_id, connection, reason, died_at_us, letter)
    SELECT number, dedupe_id, connection, reason, died_at_us, letter FROM hookline_dead_letters_v1;
DROP TABLE hookline_dead_letters_v1;
CREATE INDEX hookline_dead_letters_outgoing ON hookline_dead_letters (number) WHERE sent = 0;
CREATE TABLE hookline_parked (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    key BLOB NOT NULL,
    offset INTEGER NOT NULL,
    value BLOB NOT NULL,
    traceparent TEXT NOT NULL,
    request_id BLOB NOT NULL,
    connection TEXT NOT NULL,
    event_type TEXT NOT NULL,
    reason TEXT NOT NULL,
    parked_at_ms INTEGER NOT NULL,
    UNIQUE (topic, partition, key, offset)
);
CREATE TABLE hookline_parked_keys (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    key BLOB NOT NULL,
    events INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    retry_at_ms INTEGER NOT NULL,
    touched INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition, key)
) WITHOUT ROWID;
CREATE TABLE hookline_layouts (topic TEXT NOT NULL PRIMARY KEY, layout BLOB NOT NULL);
CREATE INDEX hookline_parked_keys_touched ON hookline_parked_keys (topic, partition)
    WHERE touched = 1;
"""

#: Step n makes version n of version n - 1.
STEPS: Final = (_V1, _V2)
VERSION: Final = len(STEPS)


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Take the steps from `version` (0: an empty file) to ours, in the open transaction."""
    for step in STEPS[version:]:
        for statement in step.split(";\n"):
            if statement.strip():
                connection.execute(statement)
