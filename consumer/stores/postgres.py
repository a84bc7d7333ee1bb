"""The store for many replicas: tables in the user's own PostgreSQL database.

The fence is optimistic: nothing is locked while handlers run, and the last statement moves the
progress only where the epoch is still ours (`PostgresCommit.advance`). A replica that hangs in
the middle of a batch therefore keeps nobody from claiming its partitions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import psycopg

from consumer.stores.contract import Claim, GroupCommit, Outgoing, Partition, Store
from consumer.stores.postgres_commit import DAY_S, PostgresCommit, parked_key
from consumer.stores.postgres_link import Link
from consumer.stores.postgres_schema import FENCED, STEPS, add_day, days, drop_day, prepare
from schemas.codec import DEAD_LETTER
from schemas.errors import Fenced, StatementFailed, StoreUnavailable, TransactionEnded


class PostgresStore:
    """A `Store`. Three connections: transactions, claims, and what is done now and then."""

    def __init__(self, url: str, group: str) -> None:
        # Each has its own: a DETACH waits for others' transactions, and a claim must not wait.
        self._link, self._claims, self._chores = Link(url), Link(url), Link(url)
        self._days: set[int] = set()
        with self._claims.using() as connection:
            version, self._group = prepare(connection, group)
        if version > len(STEPS):
            self.close()
            raise StoreUnavailable(
                f"PostgreSQL store {self._link.place} has version {version}, this build knows "
                f"{len(STEPS)}: start the Hookline version that wrote it, or a newer one"
            )

    def claim(self, partitions: Sequence[Partition], owner: str = "") -> list[Claim]:
        with self._claims.using() as connection, connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '20s'")
            # In one order everywhere, so that two replicas never wait for each other.
            claimed = {}
            for partition in sorted(partitions):
                row = connection.execute(
                    "INSERT INTO hookline.progress (number, topic, partition, epoch, owner)"
                    " VALUES (%s, %s, %s, 1, %s) ON CONFLICT (number, topic, partition)"
                    " DO UPDATE SET epoch = progress.epoch + 1, owner = excluded.owner"
                    " RETURNING epoch, next_offset",
                    (self._group, *partition, owner),
                ).fetchone()
                assert row is not None
                parked = connection.execute(
                    "SELECT topic, partition, key, events, attempts, retry_at_ms"
                    " FROM hookline.parked_keys"
                    " WHERE number = %s AND topic = %s AND partition = %s",
                    (self._group, *partition),
                ).fetchall()
                claimed[partition] = Claim(
                    partition, row[0], row[1], tuple(parked_key(row) for row in parked)
                )
            return [claimed[partition] for partition in partitions]

    @contextmanager
    def commit(self, *, careful: bool = False) -> Iterator[GroupCommit]:
        connection = self._link.connection()
        commit = None
        try:
            with ExitStack() as stack:
                pipeline = None if careful else stack.enter_context(connection.pipeline())
                # In a pipeline this costs no round trip of its own.
                connection.execute("BEGIN")
                commit = PostgresCommit(
                    connection, pipeline, self._link, self._group, self._need_day
                )
                yield commit
                # A crash before the server has it: nothing of the batch happened. After: all of
                # it, also if we are not told; then the next try finds its ids.
                done = connection.execute("COMMIT")
                if pipeline is not None:
                    pipeline.sync()
                if done.statusmessage != "COMMIT":
                    raise TransactionEnded(
                        "a handler ended the consumer's transaction: its batch is tried again"
                    )
        except psycopg.Error as error:
            self._roll_back()
            if error.sqlstate == FENCED and commit is not None:
                raise self._fenced(commit.moved) from None
            passing = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
            if careful or passing:
                raise self._link.unavailable(error) from None
            raise StatementFailed(
                f"a statement of the batch failed ({type(error).__name__})"
            ) from None
        except BaseException:
            self._roll_back()
            raise

    def expire(self, before_s: int, limit: int) -> int:
        with self._chores.using() as connection:
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
            for day, pending in days(connection, self._group):
                if day < before_day or pending:
                    with suppress(psycopg.errors.UndefinedTable, psycopg.errors.LockNotAvailable,
                                  psycopg.errors.ObjectNotInPrerequisiteState):  # fmt: skip
                        # Another replica may be about the same day.
                        drop_day(connection, self._group, day, pending)
                        self._days.discard(day)
                        gone += 1
            return gone

    def outgoing(self, limit: int) -> list[Outgoing]:
        with self._chores.using() as connection:
            rows = connection.execute(
                "SELECT letter_number, letter FROM hookline.dead_letters"
                " WHERE number = %s AND NOT sent ORDER BY letter_number LIMIT %s",
                (self._group, limit),
            ).fetchall()
        return [Outgoing(number, DEAD_LETTER.decode(bytes(letter))) for number, letter in rows]

    def sent(self, numbers: Collection[int]) -> None:
        with self._chores.using() as connection:
            connection.execute(
                "UPDATE hookline.dead_letters SET sent = true WHERE letter_number = ANY(%s)",
                (list(numbers),),
            )

    def close(self) -> None:
        for link in (self._link, self._claims, self._chores):
            link.close()

    def _need_day(self, day: int) -> None:
        if day not in self._days:
            with self._claims.using() as connection:
                add_day(connection, self._group, day)
            self._days.add(day)

    def _roll_back(self) -> None:
        connection = self._link.connection_if_open()
        if connection is not None:
            try:
                connection.execute("ROLLBACK")
            except psycopg.Error:
                self._link.reset()

    def _fenced(self, claims: Sequence[Claim]) -> Fenced:
        """Which of the claims no longer hold, for a person."""
        with self._claims.using() as connection:
            rows = connection.execute(
                "SELECT topic, partition, epoch FROM hookline.progress WHERE number = %s",
                (self._group,),
            ).fetchall()
        epochs = {Partition(topic, number): epoch for topic, number, epoch in rows}
        lost = [claim for claim in claims if epochs.get(claim.partition) != claim.epoch]
        names = ", ".join(f"{c.partition} has another owner now (ours was epoch {c.epoch})"
                          for c in lost)  # fmt: skip
        return Fenced(
            f"{names or 'a partition had another owner'}: this transaction is rolled back, the "
            "new owner continues from its progress"
        )


def open_postgres(url: str, group: str) -> Store:
    """The store for `postgresql://user:password@host:port/database`."""
    return PostgresStore(url, group)
