"""The monitor's store in PostgreSQL: several monitors may share the log's partitions.

They append one after the other (an advisory lock), so that sums have one writer at a time; each
keeps the numbers that it knows only as long as nobody else has given any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import LifoQueue
from typing import Any, Final

from consumer.monitor import appending, expiring
from consumer.monitor.appending import Place
from consumer.monitor.contract import Retention, Span
from consumer.monitor.numbers import Numbers, Run
from consumer.monitor.postgres_schema import VERSION, known_version, prepare
from consumer.monitor.questions import SqlQuestions
from consumer.monitor.searching import Dialect
from consumer.stores.postgres_link import Connection, Link
from schemas.errors import StoreUnavailable
from schemas.execution import Execution, Reception

_AT: Final = "hookline_monitor."
#: Questions that are answered at a time; more wait for one of these.
READERS: Final = 4
_WAIT_S: Final = 30.0
#: Held by the transaction that appends.
_APPENDING: Final = 0x6D6F6E6A
_TIMEOUTS: Final = {"statement_timeout": "60s", "idle_in_transaction_session_timeout": "60s"}


class PostgresQuestions(SqlQuestions):
    """The questions, asked of a database that a monitor writes."""

    # A long text is in its index by its digest.
    dialect = Dialect(at=_AT, same="md5({column}) = md5(?) AND {column} = ?")

    def __init__(self, url: str) -> None:
        """StoreUnavailable if there are no tables of a monitor, or those of another version."""
        self._readers: LifoQueue[Link] = LifoQueue()
        self._links = [Link(url, _TIMEOUTS) for _ in range(READERS)]
        for link in self._links:
            self._readers.put(link)
        try:
            self._look()
        except BaseException:
            self.close()
            raise

    def _look(self) -> None:
        link = self._links[0]
        with link.using() as connection:
            version = known_version(connection)
        if version != VERSION:
            raise _other_version(link, version)

    @contextmanager
    def _reading(self) -> Iterator[Run]:
        with self._lent() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield _runner(connection)

    @contextmanager
    def _recording(self) -> Iterator[Run]:
        with self._lent() as connection, connection.transaction():
            yield _runner(connection)

    @contextmanager
    def _lent(self) -> Iterator[Connection]:
        link = self._readers.get(timeout=_WAIT_S)
        try:
            with link.using() as connection:
                yield connection
        finally:
            self._readers.put(link)

    def close(self) -> None:
        for link in self._links:
            link.close()


class PostgresMonitor(PostgresQuestions):
    """A `MonitorStore` in PostgreSQL; makes and upgrades its tables."""

    def __init__(self, url: str) -> None:
        self._writer = Link(url, _TIMEOUTS)
        self._numbers: Numbers | None = None
        self._known = 0
        with self._writer.using() as connection:
            version = prepare(connection)
        if version != VERSION:
            self._writer.close()
            raise _other_version(self._writer, version)
        super().__init__(url)

    def offsets(self, topic: str) -> dict[int, int]:
        with self._reading() as run:
            return appending.offsets(run, _AT, topic)

    def append(
        self, rows: Sequence[Execution | Reception], topic: str, spans: Mapping[int, Span]
    ) -> None:
        # Kept only once it is committed: numbers that are rolled back are nobody's.
        numbers, self._numbers = self._numbers, None
        with self._writer.using() as connection, connection.transaction():
            writer = _PostgresWriter(connection)
            writer.run("SELECT pg_advisory_xact_lock(?)", (_APPENDING,))
            if numbers is None or numbers.given != self._given(writer.run):
                numbers = Numbers(_AT)
                numbers.load(writer.run)
            appending.append(writer, _AT, numbers, rows, topic, spans)
        self._numbers = numbers

    def _given(self, run: Run) -> int:
        ((given,),) = run(
            f"SELECT (SELECT count(*) FROM {_AT}kinds) + (SELECT count(*) FROM {_AT}series)"
            f" + (SELECT count(*) FROM {_AT}names)",
            (),
        )
        return int(given)

    def expire(self, retention: Retention, now_us: int, limit: int) -> int:
        with self._writer.using() as connection, connection.transaction():
            run = _runner(connection)
            run("SELECT pg_advisory_xact_lock(?)", (_APPENDING,))
            return expiring.expire(run, _AT, retention, now_us, limit)

    def close(self) -> None:
        super().close()
        self._writer.close()


class _PostgresWriter:
    """See `appending.Writer`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.run = _runner(connection)

    def insert(self, table: str, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {_AT}{table} ({columns}) FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.set_types(_TYPES[table])
            for row in rows:
                copy.write_row(row)

    def add_counts(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self._connection.execute(
                f"INSERT INTO {_AT}counts AS c SELECT * FROM"
                " unnest(%b::int[], %b::int[], %b::int8[], %b::int[], %b::int8[])"
                " ON CONFLICT (grain_s, series, at_s, name) DO UPDATE SET n = c.n + excluded.n",
                [list(column) for column in zip(*rows, strict=True)],
            )

    def sketches(self, places: Sequence[Place]) -> dict[Place, bytes]:
        if not places:
            return {}
        rows = self._connection.execute(
            f"SELECT s.grain_s, s.series, s.at_s, s.packed FROM {_AT}sketches s"
            " JOIN unnest(%b::int[], %b::int[], %b::int8[]) AS p (grain_s, series, at_s)"
            " USING (grain_s, series, at_s)",
            [list(column) for column in zip(*places, strict=True)],
            binary=True,
        ).fetchall()
        return {(grain_s, series, at_s): packed for grain_s, series, at_s, packed in rows}

    def put_sketches(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self._connection.execute(
                f"INSERT INTO {_AT}sketches SELECT * FROM"
                " unnest(%b::int[], %b::int[], %b::int8[], %b::bytea[])"
                " ON CONFLICT (grain_s, series, at_s) DO UPDATE SET packed = excluded.packed",
                [list(column) for column in zip(*rows, strict=True)],
            )


_TYPES: Final = {
    "events": ("bytea", "int4", "int4", "int4", "int8", "text", "text", "bytea"),
    "requests": ("bytea", "int4", "int4", "int4", "int8", "bytea"),
}


def _runner(connection: Connection) -> Run:
    def run(statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        found = connection.execute(statement.replace("?", "%s"), values, binary=True)
        return found.fetchall() if found.description is not None else []

    return run


def _other_version(link: Link, version: int) -> StoreUnavailable:
    if version == 0:
        return StoreUnavailable(
            f"PostgreSQL store {link.place} holds nothing of a monitor: its tables are made by "
            "`hookline monitor`; start that first, or correct monitor.store"
        )
    return StoreUnavailable(
        f"PostgreSQL store {link.place} has monitor version {version}, this build knows "
        f"{VERSION}: run `hookline monitor` and whatever asks it at the same Hookline version"
    )
