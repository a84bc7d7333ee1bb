"""Crashes and failures at chosen steps, between the real group commit and the real store.

A crash ends everything: until `restart`, every further step crashes too, so that no handler that
catches too much can go on after it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from consumer.stores.contract import GroupCommit, Store
from consumer.stores.transaction import Transaction


class Crash(BaseException):
    """The process ends here. No Exception, so that nothing handles it."""


class InjectedFailure(Exception):
    """A statement failed, as one does in a deadlock; the event will be tried again."""


class Faults:
    """Counts steps and statements, and breaks those that it was told to."""

    def __init__(self, crash_at: frozenset[int], fail_at: frozenset[int]) -> None:
        self._crash_at = crash_at
        self._fail_at = fail_at
        self._crashed = False
        self.steps = 0
        self.statements = 0
        self.story: list[str] = []

    def step(self, what: str) -> None:
        """A point where the process may end."""
        if self._crashed:
            raise Crash
        self.steps += 1
        if self.steps in self._crash_at:
            self._crashed = True
            self.story.append(f"crashed at step {self.steps}, {what}")
            raise Crash

    def statement(self, sql: str) -> None:
        """A statement of a handler, which may crash or fail."""
        verb = sql.split(None, 1)[0].upper() if sql.strip() else "empty statement"
        self.step(f"before a handler's {verb}")
        self.statements += 1
        if self.statements in self._fail_at:
            self.story.append(f"a handler's {verb} failed (statement {self.statements})")
            raise InjectedFailure("hookline.testing let this statement fail, as a deadlock would")

    def restart(self) -> None:
        """A new process starts."""
        self._crashed = False


class FaultyStore:
    """A store whose transactions can crash at each step."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store = store
        self._faults = faults

    @contextmanager
    def commit(self, *, careful: bool = False) -> Iterator[GroupCommit]:
        """The store's transaction, every method of which is a step."""
        self._faults.step("before the transaction begins")
        with self._store.commit(careful=careful) as commit:
            yield cast(GroupCommit, _FaultyCommit(commit, self._faults))
            self._faults.step("before the commit")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _FaultyCommit:
    def __init__(self, commit: GroupCommit, faults: Faults) -> None:
        self._commit = commit
        self._faults = faults
        real = commit.handle

        def execute(sql: str, parameters: Any) -> Any:
            faults.statement(sql)
            return real.execute(sql, parameters)

        def executemany(sql: str, rows: Any) -> Any:
            faults.statement(sql)
            return real.executemany(sql, rows)

        self.handle = Transaction(execute, executemany)

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Any] = getattr(self._commit, name)

        @functools.wraps(method)
        def stepped(*args: Any, **kwargs: Any) -> Any:
            self._faults.step(f"before {name}")
            return method(*args, **kwargs)

        return stepped
