"""The tables of the monitor in SQLite, as steps from one version to the next; a step never changes.

Searches go by an index each, the latest first; what most rows have (an event applied, a request
accepted) is in no index of outcomes. Sums are kept by series, so that a question reads one stretch
of the table; their sketches, 100 times as large, lie in a table beside them.
"""

from __future__ import annotations

from typing import Final

_V1: Final = """
CREATE TABLE monitor_offsets (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE monitor_names (no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
INSERT INTO monitor_names VALUES (1, 'applied'), (2, 'accepted');
CREATE TABLE monitor_kinds (
    no INTEGER PRIMARY KEY,
    environment TEXT NOT NULL,
    tenant TEXT NOT NULL,
    connection TEXT NOT NULL,
    provider TEXT NOT NULL,
    event_type TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    source TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    topic TEXT NOT NULL
);
CREATE TABLE monitor_series (
    no INTEGER PRIMARY KEY,
    environment TEXT NOT NULL,
    level INTEGER NOT NULL,
    connection TEXT NOT NULL,
    provider TEXT NOT NULL,
    event_type TEXT NOT NULL,
    consumer_group TEXT NOT NULL
);
CREATE TABLE monitor_events (
    id INTEGER PRIMARY KEY,
    request_id BLOB NOT NULL,
    kind INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    marked INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    resource_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    packed BLOB NOT NULL
);
CREATE INDEX monitor_events_request ON monitor_events (request_id);
CREATE INDEX monitor_events_at ON monitor_events (at_us);
CREATE INDEX monitor_events_kind ON monitor_events (kind, at_us);
CREATE INDEX monitor_events_resource ON monitor_events (resource_id, at_us);
CREATE INDEX monitor_events_event ON monitor_events (event_id, at_us);
CREATE INDEX monitor_events_outcome ON monitor_events (outcome, at_us) WHERE outcome <> 1;
CREATE INDEX monitor_events_marked ON monitor_events (at_us) WHERE marked = 1;
CREATE TABLE monitor_requests (
    id INTEGER PRIMARY KEY,
    request_id BLOB NOT NULL,
    kind INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    marked INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    packed BLOB NOT NULL
);
CREATE INDEX monitor_requests_request ON monitor_requests (request_id);
CREATE INDEX monitor_requests_at ON monitor_requests (at_us);
CREATE INDEX monitor_requests_kind ON monitor_requests (kind, at_us);
CREATE INDEX monitor_requests_outcome ON monitor_requests (outcome, at_us) WHERE outcome <> 2;
CREATE INDEX monitor_requests_marked ON monitor_requests (at_us) WHERE marked = 1;
CREATE TABLE monitor_counts (
    grain_s INTEGER NOT NULL,
    series INTEGER NOT NULL,
    at_s INTEGER NOT NULL,
    name INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (grain_s, series, at_s, name)
) WITHOUT ROWID;
CREATE TABLE monitor_sketches (
    grain_s INTEGER NOT NULL,
    series INTEGER NOT NULL,
    at_s INTEGER NOT NULL,
    packed BLOB NOT NULL,
    PRIMARY KEY (grain_s, series, at_s)
);
CREATE INDEX monitor_sketches_at ON monitor_sketches (grain_s, at_s, series);
CREATE TABLE monitor_kept (grain_s INTEGER NOT NULL PRIMARY KEY, from_s INTEGER NOT NULL);
CREATE TABLE monitor_connections (
    environment TEXT NOT NULL,
    connection TEXT NOT NULL,
    tenant TEXT NOT NULL,
    provider TEXT NOT NULL,
    received_us INTEGER NOT NULL,
    committed_us INTEGER NOT NULL,
    error_us INTEGER NOT NULL,
    refused_us INTEGER NOT NULL,
    PRIMARY KEY (environment, connection)
) WITHOUT ROWID;
CREATE TABLE monitor_pauses (
    environment TEXT NOT NULL,
    connection TEXT NOT NULL,
    day INTEGER NOT NULL,
    longest_ns INTEGER NOT NULL,
    packed BLOB NOT NULL,
    PRIMARY KEY (environment, connection, day)
);
CREATE TABLE monitor_gauges (
    no INTEGER PRIMARY KEY,
    environment TEXT NOT NULL,
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    value REAL NOT NULL,
    UNIQUE (environment, name, labels)
);
CREATE TABLE monitor_samples (
    grain_s INTEGER NOT NULL,
    gauge INTEGER NOT NULL,
    at_s INTEGER NOT NULL,
    low REAL NOT NULL,
    high REAL NOT NULL,
    last REAL NOT NULL,
    last_us INTEGER NOT NULL,
    PRIMARY KEY (grain_s, gauge, at_s)
) WITHOUT ROWID;
CREATE INDEX monitor_samples_at ON monitor_samples (grain_s, at_s, gauge);
CREATE TABLE monitor_store (version INTEGER NOT NULL);
"""

#: Step n makes version n of version n - 1.
STEPS: Final = (_V1,)
VERSION: Final = len(STEPS)
