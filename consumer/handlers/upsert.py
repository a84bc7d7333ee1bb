"""Keeps a table at the newest state of something, from a mapping and without code.

Names are checked and quoted when the mapping is made; values are only ever bound. No error has a
value in it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from consumer.handlers import json_pointer
from consumer.handlers.json_pointer import MISSING
from consumer.stores.transaction import Transaction
from schemas.errors import ConfigurationError, HandlerError, PermanentError, RetryLater
from schemas.event import Event

#: How the database's driver marks a parameter: `?` or `%s` (PEP 249).
Paramstyle = Literal["qmark", "format"]
TransactionalHandler = Callable[[Event, Transaction], None]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_OWN: Final = "hookline_"
_INT64: Final = range(-(2**63), 2**63)
_MENDING_S: Final = 10.0

_FIELDS: Final[dict[str, Callable[[Event], Any]]] = {
    "event_id": lambda event: event.event_id,
    "event_type": lambda event: event.event_type,
    "environment": lambda event: event.environment,
    "tenant": lambda event: event.tenant,
    "connection": lambda event: event.connection,
    "provider": lambda event: event.provider,
    "resource_type": lambda event: event.resource_type,
    "resource_id": lambda event: event.resource_id,
    "resource_key": lambda event: event.resource_key,
    "resource_version": lambda event: event.resource_version,
    "occurred_at": lambda event: event.occurred_at,
    "received_at": lambda event: event.received_at,
    "request_id": lambda event: event.request_id.hex(),
    "idempotency_key": lambda event: event.idempotency_key,
}


class Source(msgspec.Struct, frozen=True):
    """Where a column's value comes from; `tokens` of a JSON pointer, or a `field`."""

    text: str
    tokens: tuple[str, ...] = ()
    field: str = ""

    def read(self, event: Event, document: Any) -> Any:
        """The value; MISSING where the payload has none."""
        if self.field:
            return _FIELDS[self.field](event)
        return json_pointer.resolve(document, self.tokens)


class Upsert(NamedTuple):
    """Two handlers over one table: `write` inserts or updates a row, `delete` removes it."""

    write: TransactionalHandler
    delete: TransactionalHandler


def upsert(
    table: str,
    *,
    key: Mapping[str, str],
    columns: Mapping[str, str],
    paramstyle: Paramstyle = "qmark",
) -> Upsert:
    """Handlers for a mapping of columns to sources, such as `{"title": "/issue/title"}`.

    A source is a JSON pointer into the payload, or `event:occurred_at` and the like. The key
    must be the table's primary key or unique. ConfigurationError tells every mistake.
    """
    mapping = _Mapping(table, key, columns, paramstyle)

    def write(event: Event, tx: Transaction) -> None:
        mapping.write(event, tx)

    def delete(event: Event, tx: Transaction) -> None:
        mapping.delete(event, tx)

    write.__qualname__, delete.__qualname__ = f"upsert[{table}]", f"delete[{table}]"
    return Upsert(write, delete)


def parse_source(text: str) -> Source:
    """The source that a text names; ValueError says what to write."""
    kind, colon, field = text.partition(":")
    if colon and kind == "event":
        if field not in _FIELDS:
            raise ValueError(f"an event has no {field!r}; it has {', '.join(_FIELDS)}")
        return Source(text, field=field)
    try:
        return Source(text, json_pointer.parse(text))
    except ValueError as error:
        raise ValueError(f"{error}, or event:occurred_at for a field of the event") from None


class _Mapping:
    def __init__(
        self, table: str, key: Mapping[str, str], columns: Mapping[str, str], style: Paramstyle
    ) -> None:
        problems = _problems(table, key, columns)
        if problems:
            raise ConfigurationError(problems)
        self._table = table
        self._key = {name: parse_source(text) for name, text in key.items()}
        self._columns = {name: parse_source(text) for name, text in columns.items()}
        self._style = style
        mark = "?" if style == "qmark" else "%s"
        into = ".".join(_quoted(part) for part in table.split("."))
        names = ", ".join(map(_quoted, (*key, *columns)))
        conflict = ", ".join(map(_quoted, key))
        changes = ", ".join(f"{_quoted(name)} = excluded.{_quoted(name)}" for name in columns)
        self._write = (
            f"INSERT INTO {into} ({names}) VALUES ({', '.join([mark] * (len(key) + len(columns)))})"
            f" ON CONFLICT ({conflict}) DO {f'UPDATE SET {changes}' if changes else 'NOTHING'}"
        )
        where = " AND ".join(f"{_quoted(name)} = {mark}" for name in key)
        self._delete = f"DELETE FROM {into} WHERE {where}"

    def write(self, event: Event, tx: Transaction) -> None:
        document = self._document(event)
        values = self._key_values(event, document)
        for name, source in self._columns.items():
            found = source.read(event, document)
            values.append(self._bound(event, name, None if found is MISSING else found))
        self._execute(event, tx, self._write, values)

    def delete(self, event: Event, tx: Transaction) -> None:
        self._execute(event, tx, self._delete, self._key_values(event, self._document(event)))

    def _document(self, event: Event) -> Any:
        if all(source.field for source in (*self._key.values(), *self._columns.values())):
            return None
        try:
            return event.json()
        except msgspec.DecodeError:
            pass
        raise PermanentError(f"upsert into {self._table}: {event.event_type} is not JSON")

    def _key_values(self, event: Event, document: Any) -> list[Any]:
        values: list[Any] = []
        for name, source in self._key.items():
            value = source.read(event, document)
            if value is MISSING or value is None or isinstance(value, dict | list):
                raise PermanentError(
                    f"upsert into {self._table}: {event.event_type} has no text or number at "
                    f"{source.text} for the key {name}"
                )
            values.append(self._bound(event, name, value))
        return values

    def _bound(self, event: Event, name: str, value: Any) -> Any:
        if isinstance(value, dict | list):
            value = msgspec.json.encode(value).decode()
        elif isinstance(value, datetime):
            value = value.isoformat().replace("+00:00", "Z")
        if self._style == "qmark":
            return str(value) if isinstance(value, int) and value not in _INT64 else value
        if isinstance(value, str) and "\0" in value:
            raise PermanentError(
                f"upsert into {self._table}: the {name} of {event.event_type} has a NUL "
                "character, which PostgreSQL cannot keep"
            )
        # As text without a type, which PostgreSQL reads as the column's own: a number fits a
        # text column and a text a number's.
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if isinstance(value, int | float) else value

    def _execute(self, event: Event, tx: Transaction, sql: str, values: list[Any]) -> None:
        failure: HandlerError | None = None
        try:
            tx.execute(sql, values)
        except Exception as error:
            failure = self._failure(event, error, values)
            if failure is None:
                raise
        if failure is not None:
            # Outside the except block: a driver's message may quote the values.
            raise failure

    def _failure(self, event: Event, error: Exception, values: list[Any]) -> HandlerError | None:
        what = _kind(error)
        about = f"upsert into {self._table}"
        if what == "schema":
            shown = re.sub(r"\s+", " ", _schema_message(error))
            return RetryLater(
                f"{about}: the table does not fit its mapping ({shown}); its events are tried "
                f"again once it does. Such a table would: {self._create(values)}",
                after_s=_MENDING_S,
            )
        if what == "value":
            return PermanentError(
                f"{about}: the database does not take a value of {event.event_type} "
                f"({_code(error)}): look at the types and constraints of its columns"
            )
        if what == "constraint":
            return RetryLater(
                f"{about}: a row of {event.event_type} breaks a constraint of the table "
                f"({_code(error)}), perhaps only until another event has come"
            )
        return None

    def _create(self, values: list[Any]) -> str:
        names = {**self._key, **self._columns}
        padded = [*values, *[None] * (len(names) - len(values))]
        rows = [
            f"{_quoted(name)} {self._type(source, value)}{' NOT NULL' if name in self._key else ''}"
            for (name, source), value in zip(names.items(), padded, strict=True)
        ]
        into = ".".join(_quoted(part) for part in self._table.split("."))
        key = ", ".join(map(_quoted, self._key))
        return f"CREATE TABLE {into} ({', '.join(rows)}, PRIMARY KEY ({key}))"

    def _type(self, source: Source, value: Any) -> str:
        if source.field in ("occurred_at", "received_at"):
            return "TEXT" if self._style == "qmark" else "TIMESTAMPTZ"
        if source.field == "resource_version" or (
            isinstance(value, int) and not isinstance(value, bool)
        ):
            return "BIGINT"
        # PostgreSQL's values are texts by now: TEXT takes all of them.
        return "DOUBLE PRECISION" if isinstance(value, float) else "TEXT"


def _problems(table: str, key: Mapping[str, str], columns: Mapping[str, str]) -> list[str]:
    problems: list[str] = []
    parts = table.split(".")
    if len(parts) > 2 or not all(_NAME.fullmatch(part) for part in parts):
        problems.append(f"upsert: {table!r} is no table: write name or schema.name")
    elif parts[-1].lower().startswith(_OWN):
        problems.append(f"upsert: {table!r} is Hookline's own: write into a table of yours")
    if not key:
        problems.append(f"upsert into {table}: name at least one key column")
    for name in key.keys() & columns.keys():
        problems.append(f"upsert into {table}: {name!r} is a key, so take it from columns")
    for name, text in (*key.items(), *columns.items()):
        if not _NAME.fullmatch(name):
            problems.append(f"upsert into {table}: {name!r} is no column's name")
        try:
            parse_source(text)
        except ValueError as error:
            problems.append(f"upsert into {table}: {name}: {error}")
    return problems


def _quoted(name: str) -> str:
    return f'"{name}"'


def _kind(error: Exception) -> Literal["schema", "value", "constraint", ""]:
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        # PostgreSQL, Appendix A, "PostgreSQL Error Codes".
        if state in ("42P01", "42703", "42P10", "3F000", "42804"):
            return "schema"
        if state.startswith("22") or state in ("23502", "23514"):
            return "value"
        return "constraint" if state.startswith("23") else ""
    if isinstance(error, sqlite3.OperationalError) and (
        "no such table" in str(error)
        or "no column named" in str(error)
        or "no such column" in str(error)
        or "ON CONFLICT clause" in str(error)
        or "unknown database" in str(error)
    ):
        return "schema"
    if isinstance(error, sqlite3.IntegrityError):
        name = _code(error)
        value = ("SQLITE_CONSTRAINT_NOTNULL", "SQLITE_CONSTRAINT_CHECK", "SQLITE_MISMATCH",
                 "SQLITE_CONSTRAINT_DATATYPE")  # fmt: skip
        return "value" if name in value else "constraint"
    return ""


def _code(error: Exception) -> str:
    state = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None)
    return str(state or type(error).__name__)


def _schema_message(error: Exception) -> str:
    """What the database says of a table or column; such messages name no value."""
    diagnosis = getattr(error, "diag", None)
    return str(getattr(diagnosis, "message_primary", None) or error)
