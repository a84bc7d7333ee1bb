"""The store for many replicas: tables in the user's own PostgreSQL database.

The fence is optimistic: nothing is locked while handlers run, and the last statement moves the
progress only where the epoch is still ours (`PostgresCommit.advance`). A replica that hangs in
the middle of a batch therefore keeps nobody from claiming its partitions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import msgspec
import psycopg

from consumer.stores.contract import (
    Claim,
    GroupCommit,
    Layout,
    Outgoing,
    Partition,
    Store,
    pack_layout,
)
from consumer.stores.postgres_commit import PostgresCommit
from consumer.stores.postgres_expiry import PostgresExpiry
from consumer.stores.postgres_link import Link
from consumer.stores.postgres_parked import parked_key
from consumer.stores.postgres_schema import FENCED, STEPS, add_day, prepare
from consumer.stores.postgres_sender import Sender, failed_statement, of_the_store
from schemas.codec import DEAD_LETTER
from schemas.errors import Fenced, StatementFailed, StoreUnavailable, TransactionEnded

#: For how long one replica has a dead letter to itself, to put it on its topic.
_LEASE_S: Final = 60
#: The first with DETACH PARTITION CONCURRENTLY.
_OLDEST: Final = 140_000
_PREPARE_AFTER: Final = 5
#: Of the transactions' connection, unless the operator has set them. None ends a statement that is
#: at work: only one that waits for a lock, or a transaction whose handler does nothing in it.
_TIMEOUTS: Final = {"lock_timeout": "30s", "idle_in_transaction_session_timeout": "5min"}


class PostgresStore:
    """A `Store` with four connections: transactions, claims, the outbox, expiry."""

    def __init__(self, url: str, group: str) -> None:
        # Each has its own: expiry waits for others' transactions, and a claim must not wait.
        self._link = Link(url, _TIMEOUTS)
        self._claims, self._outbox, self._expiry = Link(url), Link(url), Link(url)
        self._days: set[int] = set()
        self._latest_day: int | None = None
        with self._claims.using() as connection:
            place, info = self._link.place, connection.info
            server, encoding = info.server_version, info.parameter_status("server_encoding")
            known = server >= _OLDEST and encoding == "UTF8"
            version, self._group = prepare(connection, group) if known else (0, 0)
        if not known:
            self.close()
            raise StoreUnavailable(
                f"PostgreSQL store {place} is version {server // 10_000} with encoding {encoding}: "
                f"Hookline needs {_OLDEST // 10_000} or newer, and a database made with UTF8"
            )
        if version > len(STEPS):
            self.close()
            raise StoreUnavailable(
                f"PostgreSQL store {place} has version {version}, this build knows "
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
                    " DO UPDATE SET epoch = progress.epoch + 1, owner = excluded.owner,"
                    " written_at_s = NULL, idle_from_s = NULL"
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

    def layout(self, topic: str) -> Layout | None:
        with self._claims.using() as connection:
            row = connection.execute(
                "SELECT layout FROM hookline.layouts WHERE number = %s AND topic = %s",
                (self._group, topic),
            ).fetchone()
        return msgspec.msgpack.decode(row[0], type=Layout) if row else None

    def note_layout(self, topic: str, layout: Layout, before: Layout | None) -> bool:
        place, packed = (self._group, topic), pack_layout(layout)
        with self._claims.using() as connection:
            if before is None:
                noted = connection.execute(
                    "INSERT INTO hookline.layouts (number, topic, layout) VALUES (%s, %s, %s)"
                    " ON CONFLICT DO NOTHING",
                    (*place, packed),
                )
            else:
                noted = connection.execute(
                    "UPDATE hookline.layouts SET layout = %s"
                    " WHERE number = %s AND topic = %s AND layout = %s",
                    (packed, *place, pack_layout(before)),
                )
            return noted.rowcount == 1

    def progress(self, topic: str) -> dict[int, int]:
        with self._claims.using() as connection:
            rows = connection.execute(
                "SELECT partition, next_offset FROM hookline.progress"
                " WHERE number = %s AND topic = %s AND next_offset IS NOT NULL",
                (self._group, topic),
            ).fetchall()
        return dict(rows)

    @contextmanager
    def commit(self, *, careful: bool = False) -> Iterator[GroupCommit]:
        connection = self._link.connection()
        # Nothing is prepared in a careful one: what fails there is a statement by itself.
        connection.prepare_threshold = None if careful else _PREPARE_AFTER
        commit = None
        try:
            with connection.pipeline() as pipeline:
                sender = Sender(connection, pipeline, self._link, careful=careful)
                # In a pipeline this costs no round trip of its own.
                sender.run("BEGIN")
                commit = PostgresCommit(sender, self._group, self._need_day)
                try:
                    yield commit
                    commit.finish()
                except BaseException:
                    # Answers that are under way, which psycopg would log if it met them later.
                    with suppress(psycopg.Error):
                        pipeline.sync()
                    raise
                # A crash before the server has it: nothing of the batch happened. After: all of
                # it, also if we are not told; then the next try finds its ids.
                done = connection.execute("COMMIT")
                pipeline.sync()
                if done.statusmessage != "COMMIT":
                    raise TransactionEnded(
                        "a handler ended the consumer's transaction: its batch is tried again"
                    )
        except psycopg.Error as error:
            of_store = careful or of_the_store(error, connection)
            self._link.reset()
            self._days.clear()
            if error.sqlstate == FENCED and commit is not None:
                raise self._fenced(commit.moved) from None
            if of_store:
                raise self._link.unavailable(error) from None
            raise StatementFailed(failed_statement(error)) from None
        except BaseException:
            # This rolls back. After a failure psycopg also takes statements for prepared that the
            # server has skipped (3.3: InvalidSqlStatementName); a new connection knows none.
            self._link.reset()
            # Also where it was a day's table that another has dropped meanwhile.
            self._days.clear()
            raise

    def expire(self, before_s: int, limit: int, *, applied_before_s: int | None = None) -> int:
        expiry = PostgresExpiry(self._expiry, self._group)
        return expiry.expire(before_s, limit, applied_before_s, self._latest_day)

    def outgoing(self, limit: int) -> list[Outgoing]:
        with self._outbox.using() as connection:
            rows = connection.execute(
                "WITH due AS MATERIALIZED (SELECT letter_number FROM hookline.dead_letters"
                " WHERE number = %s AND NOT sent AND leased_until < clock_timestamp()"
                " ORDER BY letter_number LIMIT %s FOR UPDATE SKIP LOCKED)"
                " UPDATE hookline.dead_letters d"
                " SET leased_until = clock_timestamp() + make_interval(secs => %s)"
                " FROM due WHERE d.letter_number = due.letter_number"
                " RETURNING d.letter_number, d.letter",
                (self._group, limit, _LEASE_S),
            ).fetchall()
        return [
            Outgoing(number, DEAD_LETTER.decode(bytes(letter))) for number, letter in sorted(rows)
        ]

    def sent(self, numbers: Collection[int]) -> None:
        with self._outbox.using() as connection:
            connection.execute(
                "UPDATE hookline.dead_letters SET sent = true WHERE letter_number = ANY(%s)",
                (list(numbers),),
            )

    def close(self) -> None:
        for link in (self._link, self._claims, self._outbox, self._expiry):
            link.close()

    def _need_day(self, day: int) -> None:
        if day not in self._days:
            with self._claims.using() as connection:
                add_day(connection, self._group, day)
            self._days.add(day)
            self._latest_day = max(day, self._latest_day or day)

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
