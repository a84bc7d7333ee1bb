"""The transaction as a handler sees it: statements yes, beginning and ending no."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from schemas.errors import TransactionEnded

Parameters = Sequence[Any] | Mapping[str, Any]

_CONTROL: Final = re.compile(
    # \ufeff: a byte order mark is white space to SQLite.
    r"(?:[\s\ufeff]|--[^\n]*\n|/\*.*?\*/|;)*"
    r"(BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE"
    r"|PREPARE(?:\s|--[^\n]*\n|/\*.*?\*/)+TRANSACTION|ATTACH|DETACH|VACUUM|PRAGMA|COPY)\b",
    re.IGNORECASE | re.DOTALL,
)
_REMEMBERED: Final = 512
_COMMENT: Final = re.compile(r"[\s;\ufeff]+|--[^\n\r]*|/\*")
_NESTED: Final = re.compile(r"/\*|\*/")


class Cursor(Protocol):
    """What `Transaction.execute` returns: the rows, and how many were changed."""

    @property
    def rowcount(self) -> int:
        """How many rows the statement changed, or -1."""

    def fetchone(self) -> Any:
        """The next row or None."""

    def fetchall(self) -> list[Any]:
        """All rows left."""


class Transaction:
    """Runs a handler's statements in the consumer's own transaction.

    What is executed here commits together with the note that the event is done, or not at all.
    An exception from the handler takes back this event's statements only.
    """

    __slots__ = ("_allowed", "_execute", "_executemany")

    def __init__(
        self,
        execute: Callable[[str, Parameters], Cursor],
        executemany: Callable[[str, Iterable[Parameters]], Cursor],
    ) -> None:
        self._execute = execute
        self._executemany = executemany
        self._allowed: set[str] = set()

    def lend(self) -> Transaction:
        """The same transaction for one call of a handler, until `end`."""
        lent = Transaction(self._execute, self._executemany)
        lent._allowed = self._allowed
        return lent

    def end(self) -> None:
        """The call is over: what is kept of this object writes nothing into a later event's."""
        self._execute = self._executemany = _over

    def execute(self, sql: str, parameters: Parameters = ()) -> Cursor:
        """Run one statement; TransactionEnded if it would begin or end a transaction."""
        if sql not in self._allowed:
            self._check(sql)
        return self._execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Parameters]) -> Cursor:
        """Run one statement for each row of parameters."""
        if sql not in self._allowed:
            self._check(sql)
        return self._executemany(sql, rows)

    def _check(self, sql: str) -> None:
        # Both ways: the head of a statement is another where comments nest (PostgreSQL) than where
        # they do not (SQLite).
        if match := _CONTROL.match(sql) or _CONTROL.match(_without_head(sql)):
            raise TransactionEnded(
                f"a handler may not run {match[1].upper()}: the transaction also holds the note "
                "that the event is done; raise an exception to take this event's effect back"
            )
        if len(self._allowed) >= _REMEMBERED:
            self._allowed.clear()
        self._allowed.add(sql)


def _without_head(sql: str) -> str:
    """A statement without the comments at its head, as PostgreSQL reads them."""
    at = 0
    while match := _COMMENT.match(sql, at):
        at = match.end()
        depth = int(match[0] == "/*")
        while depth and (mark := _NESTED.search(sql, at)):
            at = mark.end()
            depth += 1 if mark[0] == "/*" else -1
        if depth:
            return ""
    return sql[at:]


def _over(*_: Any) -> Any:
    raise TransactionEnded(
        "a transaction was used after its handler had returned: await all that uses it, and keep "
        "it nowhere"
    )
