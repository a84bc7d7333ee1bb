"""Forgetting in PostgreSQL. Rule: it never waits for long, and never makes a commit wait.

A table of a day can be taken out only when no transaction looks at it any more, and one may hang.
Then this gives up, and goes on from there the next time.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import psycopg

from consumer.stores.postgres_link import Connection, Link
from consumer.stores.postgres_schema import add_day, days, drop_day, drop_left_over, left_over

DAY_S: Final = 86_400
_PATIENCE: Final = "2s"

_BUSY: Final = (
    # Another's transaction is in the way,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    # or another replica is about the same day.
    psycopg.errors.ObjectNotInPrerequisiteState,
    psycopg.errors.UndefinedTable,
    psycopg.errors.DeadlockDetected,
)


class PostgresExpiry:
    """One group's expiry, on a connection of its own: nothing else waits for it."""

    def __init__(self, link: Link, group: int) -> None:
        self._link = link
        self._group = group

    def expire(self, before_s: int, limit: int, latest_day: int | None) -> int:
        """`Store.expire`; makes the table of the day after `latest_day`, too."""
        with self._link.using() as connection:
            connection.execute(f"SET lock_timeout = '{_PATIENCE}'")
            connection.execute("SET statement_timeout = '30s'")
            row = connection.execute(
                "SELECT min(held_from_s) FROM hookline.progress WHERE number = %s", (self._group,)
            ).fetchone()
            if row is not None and row[0] is not None:
                before_s = min(before_s, row[0])
            before_day = before_s // DAY_S
            gone = connection.execute(
                "DELETE FROM hookline.applied WHERE number = %s AND id IN (SELECT id"
                " FROM hookline.applied WHERE number = %s AND day < %s LIMIT %s)",
                (self._group, self._group, before_day, limit),
            ).rowcount
            with suppress(*_BUSY):
                if latest_day is not None:
                    # Ahead of time, so that no commit waits for it at midnight.
                    add_day(connection, self._group, latest_day + 1, _PATIENCE)
                gone += self._drop_days(connection, before_day)
            return gone

    def _drop_days(self, connection: Connection, before_day: int) -> int:
        gone = 0
        for day in left_over(connection, self._group):
            if day < before_day:
                drop_left_over(connection, self._group, day)
                gone += 1
        # What is half taken out first: while it is, no other can be.
        for day, pending in sorted(days(connection, self._group), key=lambda x: not x[1]):
            if day < before_day or pending:
                drop_day(connection, self._group, day, pending)
                gone += 1
        return gone
