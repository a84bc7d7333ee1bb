"""Forgetting in PostgreSQL. Rule: it never waits for long, and never makes a commit wait.

A table of a day can be taken out only when no transaction looks at it any more, and one may hang.
Then this gives up, and goes on from there the next time.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import psycopg

from consumer.stores.contract import GIVEN_UP_S
from consumer.stores.postgres_link import Connection, Link
from consumer.stores.postgres_schema import add_day, days, drop_day, drop_left_over, left_over

DAY_S: Final = 86_400
_PATIENCE: Final = "2s"
_NEVER_S: Final = 2**62

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

    def expire(
        self, before_s: int, limit: int, applied_before_s: int | None, latest_day: int | None
    ) -> int:
        """`Store.expire`; makes the table of the day after `latest_day`, too."""
        with self._link.using() as connection:
            connection.execute(f"SET lock_timeout = '{_PATIENCE}'")
            connection.execute("SET statement_timeout = '30s'")
            held_s = self._held_s(connection, before_s)
            before_day = min(before_s, held_s) // DAY_S
            gone = 0
            if applied_before_s is not None:
                gone = connection.execute(
                    "DELETE FROM hookline.applied WHERE number = %s AND id IN (SELECT id"
                    " FROM hookline.applied WHERE number = %s AND day < %s LIMIT %s)",
                    (self._group, self._group, min(applied_before_s, held_s) // DAY_S, limit),
                ).rowcount
            with suppress(*_BUSY):
                if latest_day is not None and latest_day >= before_day:
                    # Ahead of time, so that no commit waits for it at midnight.
                    add_day(connection, self._group, latest_day + 1, _PATIENCE)
                gone += self._drop_days(connection, before_day)
            return gone

    def _held_s(self, connection: Connection, before_s: int) -> int:
        """From when on ids may be above a position of a partition that is not given up."""
        connection.execute(
            "UPDATE hookline.progress SET idle_from_s = %s WHERE number = %s"
            " AND held_from_s IS NOT NULL AND written_at_s < %s AND idle_from_s IS NULL",
            (before_s, self._group, before_s),
        )
        row = connection.execute(
            "SELECT coalesce(min(held_from_s), %s) FROM hookline.progress WHERE number = %s"
            " AND (idle_from_s IS NULL OR written_at_s >= %s OR idle_from_s > %s)",
            (_NEVER_S, self._group, before_s, before_s - GIVEN_UP_S),
        ).fetchone()
        assert row is not None
        return int(row[0])

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
