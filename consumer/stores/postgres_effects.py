"""What handlers do to the PostgreSQL store's open transaction, each event as if in a savepoint.

An event's statements are held until it is kept, and dropped if it is taken back; the server sees a
savepoint only of a handler that looks at what a statement gave. Consecutive equal statements, also
of several events, go as one `executemany`: some 18 µs of CPU for each event, not 160.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain, islice
from types import NoneType
from typing import Any, Final
from uuid import UUID

import psycopg

from consumer.stores.postgres_sender import PgCursor, Sender
from consumer.stores.transaction import Parameters
from schemas.errors import HandlerError, TransactionEnded

#: More than so many rows of parameters are never held.
_HELD_ROWS: Final = 1000
#: Values that nobody can change while they are held.
_FROZEN: Final = frozenset(
    {NoneType, bool, bytes, date, datetime, Decimal, float, int, str, time, timedelta, UUID}
)
#: What SET CONSTRAINTS ALL IMMEDIATE changes and is to be as it was for the next event.
_DEFERRED: Final = (
    "SELECT string_agg(format('%I.%I', n.nspname, c.conname), ', ') FROM pg_constraint c"
    " JOIN pg_namespace n ON n.oid = c.connamespace"
    " WHERE c.condeferred AND has_schema_privilege(n.oid, 'USAGE')"
)

Rows = Sequence[Parameters | None]


class EffectCursor:
    """What a handler's statement gives: sent and waited for only when it is looked at."""

    __slots__ = ("_effects", "many", "rows", "sent", "sql")

    def __init__(self, effects: PostgresEffects, sql: str, rows: Rows, many: bool) -> None:
        self._effects = effects
        self.sql = sql
        self.rows = rows
        self.many = many
        self.sent: PgCursor | None = None

    @property
    def rowcount(self) -> int:
        """How many rows the statement changed."""
        cursor = self._effects.look(self)
        self._effects.sender.wait()
        return cursor.rowcount

    def fetchone(self) -> Any:
        """The next row or None."""
        return self._effects.sender.guarded(self._effects.look(self).fetchone)

    def fetchall(self) -> list[Any]:
        """All rows left."""
        rows: list[Any] = self._effects.sender.guarded(self._effects.look(self).fetchall)
        return rows


class PostgresEffects:
    """The handlers' statements of one transaction."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        #: Of events that are kept, not sent yet.
        self._kept: list[EffectCursor] = []
        self._kept_rows = 0
        #: Of the event in hand, not sent yet.
        self._held: list[EffectCursor] = []
        self._held_rows = 0
        self._in_event = False
        #: Whether the server has a savepoint of the event in hand.
        self._begun = False
        self._deferred: str | None = None

    def savepoint(self) -> None:
        """Begin one event's effect."""
        self._in_event, self._begun = True, False
        if self.sender.careful:
            self._send_held()

    def keep(self) -> None:
        """Keep what was done since the savepoint."""
        begun, self._in_event, self._begun = self._begun, False, False
        if not begun:
            self._kept += self._held
            self._kept_rows += self._held_rows
            self._held, self._held_rows = [], 0
            if self._kept_rows >= _HELD_ROWS:
                self.flush()
            return
        try:
            if self.sender.careful:
                self._check_constraints()
            self.sender.run("RELEASE hookline_event", prepare=False)
        except psycopg.errors.InFailedSqlTransaction:
            # Taken back next: `take_back` has to find the savepoint.
            self._begun = True
            raise HandlerError(
                "a statement failed and the handler went on as if it had not: PostgreSQL takes "
                "nothing more until the effect is taken back"
            ) from None
        except psycopg.Error as error:
            raise _ended(error) from None

    def take_back(self) -> None:
        """Undo what was done since the savepoint."""
        begun, self._in_event, self._begun = self._begun, False, False
        self._held, self._held_rows = [], 0
        if not begun:
            return
        try:
            self.sender.run("ROLLBACK TO hookline_event", prepare=False)
            # psycopg answers a ROLLBACK by DEALLOCATE ALL behind the next statement, and would
            # go on using what an `executemany` prepared in between.
            self.sender.wait()
            self.sender.run("RELEASE hookline_event", prepare=False)
        except psycopg.Error as error:
            raise _ended(error) from None

    def execute(self, sql: str, parameters: Parameters) -> EffectCursor:
        """A handler's statement."""
        if not parameters:
            return self._take(sql, (None,), False)
        if self._holding:
            frozen = _frozen(parameters)
            if frozen is not None:
                return self._take(sql, (frozen,), False)
            self._send_held()
        return self._take(sql, (parameters,), False)

    def executemany(self, sql: str, rows: Iterable[Parameters]) -> EffectCursor:
        """A handler's statement for many rows."""
        if self._holding:
            coming = iter(rows)
            first = list(islice(coming, _HELD_ROWS + 1))
            frozen = [row for row in map(_frozen, first) if row is not None]
            if len(frozen) == len(first) <= _HELD_ROWS:
                return self._take(sql, frozen, True)
            self._send_held()
            rows = chain(first, coming)
        self.flush()
        cursor = EffectCursor(self, sql, (), True)
        cursor.sent = self.sender.run_many(sql, rows)
        return cursor

    def look(self, cursor: EffectCursor) -> PgCursor:
        """A statement's own cursor, once it has been sent."""
        if cursor.sent is None and self._held:
            self._send_held()
        if cursor.sent is None:
            raise HandlerError("a handler looks at a statement of a handler that has ended")
        return cursor.sent

    def flush(self) -> None:
        """Send what is kept, before anything else is."""
        kept, self._kept, self._kept_rows = self._kept, [], 0
        sql, together = "", list[Parameters | None]()
        try:
            for statement in kept:
                bare = statement.rows[:1] == (None,)
                if together and (bare or statement.sql != sql):
                    self.sender.run_blindly(sql, together)
                    together = []
                if bare:
                    self.sender.run(statement.sql)
                else:
                    sql = statement.sql
                    together += statement.rows
            if together:
                self.sender.run_blindly(sql, together)
        except (ArithmeticError, TypeError, ValueError) as error:
            # A value that cannot be sent, such as half a surrogate pair: one of a kept event.
            self.sender.fail(error)

    @property
    def _holding(self) -> bool:
        return self._in_event and not self._begun

    def _take(self, sql: str, rows: Rows, many: bool) -> EffectCursor:
        cursor = EffectCursor(self, sql, rows, many)
        if self._holding:
            self._held.append(cursor)
            self._held_rows += len(rows)
            if self._held_rows > _HELD_ROWS:
                self._send_held()
        else:
            self.flush()
            self._send(cursor)
        return cursor

    def _send_held(self) -> None:
        """Send the savepoint, behind all that is kept, and what is held behind that."""
        self.flush()
        self.sender.run("SAVEPOINT hookline_event", prepare=False)
        self._begun = True
        held, self._held, self._held_rows = self._held, [], 0
        for cursor in held:
            self._send(cursor)

    def _send(self, cursor: EffectCursor) -> None:
        if cursor.many:
            cursor.sent = self.sender.run_many(cursor.sql, cursor.rows)
        else:
            cursor.sent = self.sender.run(cursor.sql, cursor.rows[0])

    def _check_constraints(self) -> None:
        """Deferred constraints now, while it is known whose they are."""
        try:
            self.sender.run("SET CONSTRAINTS ALL IMMEDIATE")
        except psycopg.errors.InFailedSqlTransaction:
            raise
        except psycopg.Error as error:
            self._begun = True
            raise HandlerError(
                f"a deferred constraint does not hold: {error.diag.message_primary}"
            ) from None
        if self._deferred is None:
            self._deferred = self.sender.rows(_DEFERRED)[0][0] or ""
        if self._deferred:
            self.sender.run(f"SET CONSTRAINTS {self._deferred} DEFERRED")


def _frozen(parameters: Parameters) -> Parameters | None:
    """The parameters as nobody can change them any more, or None if they may still change."""
    if type(parameters) is tuple:
        return parameters if _FROZEN.issuperset(map(type, parameters)) else None
    if type(parameters) is list:
        return tuple(parameters) if _FROZEN.issuperset(map(type, parameters)) else None
    if type(parameters) is dict:
        return dict(parameters) if _FROZEN.issuperset(map(type, parameters.values())) else None
    return None


def _ended(error: psycopg.Error) -> TransactionEnded:
    return TransactionEnded(
        "the handler ended the consumer's transaction; the whole batch is rolled back and "
        f"tried again ({error.diag.message_primary})"
    )
