"""One connection to PostgreSQL that heals by itself, and what its errors mean.

No message holds the password: only host, port and database are named.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import psycopg
from psycopg import conninfo
from psycopg.rows import tuple_row

from consumer.stores.postgres_errors import check_parts, explain
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

    def __init__(self, url: str, timeouts: Mapping[str, str] | None = None) -> None:
        """`timeouts`: settings of PostgreSQL that hold where the operator has set none."""
        parts = _parts(url)
        check_parts(parts)
        self._secrets = _secrets(parts)
        self._timeouts = dict(timeouts or {})
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
            made = self._connect()
            if isinstance(made, StoreUnavailable):
                # Outside the except block: libpq's own error may quote what it was given, and
                # would hang on ours as its context.
                raise made
            self._connection = connection = made
            self._lost = False
        return connection

    def _connect(self) -> Connection | StoreUnavailable:
        connection: Connection | None = None
        try:
            connection = psycopg.connect(self._conninfo, autocommit=True, row_factory=tuple_row)
            if self._lost:
                self._end_the_lost_one(connection)
            if self._timeouts:
                connection.execute(
                    "SELECT set_config(v.name, v.value, false)"
                    " FROM unnest(%s::text[], %s::text[]) AS v(name, value)"
                    " JOIN pg_settings s ON s.name = v.name WHERE s.source = 'default'",
                    (list(self._timeouts), list(self._timeouts.values())),
                )
        except psycopg.Error as error:
            if connection is not None:
                connection.close()
            return self.unavailable(error)
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
        return StoreUnavailable(f"PostgreSQL store {self.place}: {explain(error, self._secrets)}")


def _parts(url: str) -> dict[str, str]:
    with suppress(psycopg.Error):
        return {name: str(value) for name, value in conninfo.conninfo_to_dict(url).items()}
    # Outside the block above: libpq's own error may quote the password.
    raise ConfigurationError(
        "consumer.store: this is no PostgreSQL URL; write postgresql://user@host:5432/database"
    )


def _secrets(parts: Mapping[str, str]) -> tuple[str, ...]:
    """The passwords as they are, and as a URL has them."""
    values = [parts[name] for name in ("password", "sslpassword") if parts.get(name)]
    return tuple({form for value in values for form in (value, quote(value, safe=""))})


def _given(parts: Mapping[str, str]) -> dict[str, str]:
    """What the URL says itself wins."""
    return {name: value for name, value in parts.items() if name in _SETTINGS}
