"""The tables of the PostgreSQL store, as steps from one version to the next; a step never changes.

All are in the schema `hookline` of the user's own database, so that effects and progress are one
transaction. Groups share the tables, but for the seen ids: each group has a table of its own for
those, partitioned by day, so that one group's retention drops whole days without asking another.
"""

from __future__ import annotations

from typing import Any, Final

_V1: Final = """
CREATE TABLE hookline.groups (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer_group text NOT NULL UNIQUE
);
CREATE TABLE hookline.progress (
    number integer NOT NULL REFERENCES hookline.groups,
    topic text NOT NULL,
    partition integer NOT NULL,
    epoch bigint NOT NULL,
    next_offset bigint,
    owner text NOT NULL DEFAULT '',
    held_from_s bigint,
    done_to bigint,
    written_at_s bigint,
    idle_from_s bigint,
    PRIMARY KEY (number, topic, partition)
);
CREATE TABLE hookline.layouts (
    number integer NOT NULL,
    topic text NOT NULL,
    layout bytea NOT NULL,
    PRIMARY KEY (number, topic)
);
CREATE TABLE hookline.applied (
    number integer NOT NULL,
    id uuid NOT NULL,
    day integer NOT NULL,
    version bigint,
    occurred_at_us bigint,
    deleted boolean NOT NULL,
    PRIMARY KEY (number, id)
);
CREATE INDEX applied_day ON hookline.applied (number, day);
CREATE TABLE hookline.dead_letters (
    letter_number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number integer NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    log_offset bigint NOT NULL,
    dedupe_id bytea NOT NULL,
    connection text NOT NULL,
    event_type text NOT NULL,
    resource_key text NOT NULL,
    reason text NOT NULL,
    died_at_us bigint NOT NULL,
    letter bytea NOT NULL,
    traceparent text NOT NULL DEFAULT '',
    sent boolean NOT NULL DEFAULT false,
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    place bytea,
    UNIQUE (number, place)
);
CREATE INDEX dead_letters_group ON hookline.dead_letters (number, letter_number);
CREATE INDEX dead_letters_outgoing ON hookline.dead_letters (number, letter_number) WHERE NOT sent;
CREATE TABLE hookline.parked (
    number integer NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    key bytea NOT NULL,
    key_digest bytea NOT NULL GENERATED ALWAYS AS (sha256(key)) STORED,
    log_offset bigint NOT NULL,
    value bytea NOT NULL,
    traceparent text NOT NULL,
    request_id bytea NOT NULL,
    connection text NOT NULL,
    event_type text NOT NULL,
    reason text NOT NULL,
    parked_at_ms bigint NOT NULL,
    PRIMARY KEY (number, topic, partition, key_digest, log_offset)
);
CREATE TABLE hookline.parked_keys (
    number integer NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    key bytea NOT NULL,
    key_digest bytea NOT NULL GENERATED ALWAYS AS (sha256(key)) STORED,
    events bigint NOT NULL,
    attempts integer NOT NULL,
    retry_at_ms bigint NOT NULL,
    touched boolean NOT NULL DEFAULT false,
    PRIMARY KEY (number, topic, partition, key_digest)
);
CREATE INDEX parked_keys_in_order
    ON hookline.parked_keys (number, topic, partition, substring(key FROM 1 FOR 512));
CREATE INDEX parked_keys_touched ON hookline.parked_keys (number, topic, partition) WHERE touched;
CREATE FUNCTION hookline.fence(holds boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds THEN
        RAISE EXCEPTION 'fenced' USING ERRCODE = 'HL001';
    END IF;
END
$$
"""

#: What `hookline.fence` raises.
FENCED: Final = "HL001"
#: Step n makes version n of version n - 1.
STEPS: Final = (_V1,)
#: Held while a schema is made or upgraded, and while a day is added or dropped.
_LOCK: Final = 0x686F6F6B


def prepare(connection: Any, group: str, steps: tuple[str, ...] = STEPS) -> tuple[int, int]:
    """Make or upgrade the tables and know the group; (version found, the group's number).

    The connection is in autocommit; nothing is changed where the version is newer than ours.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        there = connection.execute("SELECT to_regclass('hookline.store') IS NOT NULL").fetchone()
        if not there[0]:
            connection.execute("CREATE SCHEMA IF NOT EXISTS hookline")
            connection.execute("CREATE TABLE hookline.store (version integer NOT NULL)")
            connection.execute("INSERT INTO hookline.store VALUES (0)")
        version: int = connection.execute("SELECT version FROM hookline.store").fetchone()[0]
        if version > len(steps):
            return version, 0
        for step in steps[version:]:
            connection.execute(step)
        connection.execute("UPDATE hookline.store SET version = %s", (len(steps),))
        connection.execute(
            "INSERT INTO hookline.groups (consumer_group) VALUES (%s) ON CONFLICT DO NOTHING",
            (group,),
        )
        number: int = connection.execute(
            "SELECT number FROM hookline.groups WHERE consumer_group = %s", (group,)
        ).fetchone()[0]
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS hookline.seen_{number}"
            " (day integer NOT NULL, id uuid NOT NULL, PRIMARY KEY (id, day))"
            " PARTITION BY RANGE (day)"
        )
        return len(steps), number


def day_table(number: int, day: int) -> str:
    """The table of one group's ids of one day."""
    return f"hookline.seen_{number}_{day}"


def add_day(connection: Any, number: int, day: int, patience: str = "20s") -> None:
    """Make a day's table, if it is not there. It blocks nobody: ATTACH takes a weak lock.

    It waits for a drop of another day, which gives up sooner than this (`PostgresExpiry`).
    """
    table = day_table(number, day)
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{patience}'")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        found = connection.execute(
            "SELECT relispartition FROM pg_class WHERE oid = to_regclass(%s)", (table,)
        ).fetchone()
        if found == (True,):
            return
        if found is not None:
            # Taken out for its age and not dropped: what is in it counts for nothing.
            connection.execute(f"DROP TABLE {table}")
        connection.execute(f"CREATE TABLE {table} (LIKE hookline.seen_{number} INCLUDING ALL)")
        connection.execute(
            f"ALTER TABLE hookline.seen_{number} ATTACH PARTITION {table}"
            f" FOR VALUES FROM ({day}) TO ({day + 1})"
        )


def days(connection: Any, number: int) -> list[tuple[int, bool]]:
    """The days that a group has a table of, with whether it is being taken away already."""
    rows = connection.execute(
        "SELECT c.relname, i.inhdetachpending FROM pg_inherits i"
        " JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass",
        (f"hookline.seen_{number}",),
    ).fetchall()
    return sorted((int(name.rpartition("_")[2]), pending) for name, pending in rows)


def left_over(connection: Any, number: int) -> list[int]:
    """The days whose table was taken out by somebody who then did not come to drop it."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'hookline'::regnamespace"
        " AND relkind = 'r' AND NOT relispartition AND relname ~ %s",
        (f"^seen_{number}_[0-9]+$",),
    ).fetchall()
    return sorted(int(name.rpartition("_")[2]) for (name,) in rows)


def drop_day(connection: Any, number: int, day: int, pending: bool) -> None:
    """Take a day's table away without ever blocking a commit.

    DETACH CONCURRENTLY waits for those who use the table and keeps nobody waiting; interrupted,
    it is finished here the next time. The connection is in autocommit.
    """
    table = day_table(number, day)
    how = "FINALIZE" if pending else "CONCURRENTLY"
    connection.execute(f"ALTER TABLE hookline.seen_{number} DETACH PARTITION {table} {how}")
    # A crash before this: `left_over` finds it.
    drop_left_over(connection, number, day)


def drop_left_over(connection: Any, number: int, day: int) -> None:
    """Drop a day's table that has been taken out, unless it has just been put in again."""
    table = day_table(number, day)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        found = connection.execute(
            "SELECT relispartition FROM pg_class WHERE oid = to_regclass(%s)", (table,)
        ).fetchone()
        if found == (False,):
            connection.execute(f"DROP TABLE {table}")
