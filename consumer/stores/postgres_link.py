"""One connection to PostgreSQL that heals by itself, and what its errors mean.

No message holds the password: only host, port and database are named.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg import conninfo
from psycopg.rows import tuple_row

from schemas.errors import ConfigurationError, StoreUnavailable

Connection = psycopg.Connection[tuple[Any, ...]]

_SETTINGS: Final = {
    "connect_timeout": "10",
    # A peer that is gone without a word is noticed in about half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
}


class Link:
    """A connection in autocommit; `using` lends it to one thread at a time."""

    def __init__(self, url: str) -> None:
        try:
            parts = conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            raise ConfigurationError(
                "consumer.store: this is no PostgreSQL URL; write "
                "postgresql://user@host:5432/database"
            ) from None
        # The server knows this link by it: see `_end_the_lost_one`.
        self._name = f"hookline-{uuid4().hex}"
        settings = {**_SETTINGS, **_given(parts), "application_name": self._name}
        self._conninfo = conninfo.make_conninfo(url, **settings)
        self.place = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/" + str(
            parts.get("dbname", parts.get("user", ""))
        )
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._closed = False
        self._lost = False

    @contextmanager
    def using(self, wait_s: float = 30.0) -> Iterator[Connection]:
        """The connection, made anew if it was lost; errors come out as StoreUnavailable."""
        if not self._lock.acquire(timeout=wait_s):
            raise StoreUnavailable(f"PostgreSQL store {self.place}: busy for {wait_s:g} s")
        try:
            try:
                yield self.connection()
            except psycopg.Error as error:
                raise self.unavailable(error) from None
        finally:
            self._lock.release()

    def connection(self) -> Connection:
        """The connection, for a thread that has it to itself."""
        if self._closed:
            raise StoreUnavailable(f"PostgreSQL store {self.place} is closed")
        connection = self._connection
        if connection is None or connection.closed or connection.broken:
            self.reset()
            try:
                connection = psycopg.connect(self._conninfo, autocommit=True, row_factory=tuple_row)
                if self._lost:
                    self._end_the_lost_one(connection)
            except psycopg.Error as error:
                raise self.unavailable(error) from None
            self._connection = connection
            self._lost = False
        return connection

    def _end_the_lost_one(self, connection: Connection) -> None:
        """A transaction whose connection broke may still be on its way to its commit there.

        Looked up again before that, its events would have their effect twice.
        """
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE application_name = %s AND pid <> pg_backend_pid()",
            (self._name,),
        )

    def connection_if_open(self) -> Connection | None:
        """The connection, unless it was lost."""
        connection = self._connection
        return None if connection is None or connection.closed else connection

    def reset(self) -> None:
        """Throw the connection away."""
        if self._connection is not None:
            self._lost = True
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def close(self) -> None:
        """End it for good."""
        self._closed = True
        self.reset()

    def unavailable(self, error: psycopg.Error) -> StoreUnavailable:
        """What PostgreSQL said, without anything secret, and what to look at."""
        what = error.diag.message_primary or type(error).__name__
        advice = _ADVICE.get((error.sqlstate or "")[:2], "is it running, and reachable from here?")
        return StoreUnavailable(
            f"PostgreSQL store {self.place}: {what}; events wait in Kafka and are tried again: "
            f"{advice}"
        )


#: By class of SQLSTATE (PostgreSQL's documentation, appendix "Error Codes").
_ADVICE: Final = {
    "25": "is this server a read-only standby?",
    "28": "check the user and consumer.store_password",
    "3D": "create the database, or correct its name in consumer.store",
    "40": "two transactions were in each other's way",
    "42": "check that this user may use and create in the schema `hookline`",
    "53": "check the server's disk, memory and max_connections",
    "55": "something else holds what is needed",
    "57": "it is stopping or starting, or a statement was cancelled",
}


def _given(parts: Any) -> dict[str, str]:
    """What the URL says itself wins."""
    return {name: str(value) for name, value in parts.items() if name in _SETTINGS}
