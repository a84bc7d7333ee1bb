"""Handlers, registered by event-type pattern; exactly one is chosen for an event.

A pattern is dotted segments, `*` stands for one segment, or at the end for one or more:
`github.issues.*` takes `github.issues.opened`. The most specific pattern wins.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from consumer.stores.transaction import Transaction
from schemas.errors import ConfigurationError

F = TypeVar("F", bound=Callable[..., Any])

_PATTERN: Final = re.compile(r"(?:\*|[A-Za-z0-9_:-]+)(?:\.(?:\*|[A-Za-z0-9_:-]+))*")
_CACHE_SIZE: Final = 4096


class Handler(msgspec.Struct, frozen=True, eq=False):
    """One registered function and what it asks for."""

    pattern: str
    function: Callable[..., Any]
    takes_transaction: bool
    is_async: bool

    @property
    def name(self) -> str:
        """`module.function`, for logs and metrics."""
        return f"{self.function.__module__}.{self.function.__qualname__}"


class Handlers:
    """A registry of handlers: make one in your module and name it in `consumer.handlers`.

        handlers = Handlers()

        @handlers.on("github.issues.*")
        def count(event: Event, tx: Transaction) -> None:
            tx.execute("INSERT …", (event.resource_id,))

    A handler that takes a transaction has its effect exactly once: what it executes commits
    together with the note that the event is done. One that takes only the event runs outside
    any transaction and at least once; send `event.idempotency_key` along.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._chosen: dict[str, Handler | None] = {}

    def __len__(self) -> int:
        return len(self._handlers)

    def __iter__(self) -> typing.Iterator[Handler]:
        return iter(self._handlers.values())

    def on(self, *patterns: str) -> Callable[[F], F]:
        """Register a function, `def` or `async def`, for event types of these patterns."""
        if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
            raise ConfigurationError(
                'handlers.on needs the event types it is for: @handlers.on("github.issues.*")'
            )

        def register(function: F) -> F:
            for pattern in patterns:
                self._register(pattern, function)
            return function

        return register

    def find(self, event_type: str) -> Handler | None:
        """The handler with the most specific pattern that takes this type, or None."""
        try:
            return self._chosen[event_type]
        except KeyError:
            pass
        taking = [h for h in self._handlers.values() if _takes(h.pattern, event_type)]
        chosen = max(taking, key=lambda h: _specificity(h.pattern), default=None)
        # Types come from outside: a sender that invents one for each event must not fill memory.
        if len(self._chosen) >= _CACHE_SIZE:
            self._chosen.clear()
        self._chosen[event_type] = chosen
        return chosen

    def _register(self, pattern: str, function: Callable[..., Any]) -> None:
        if not _PATTERN.fullmatch(pattern):
            raise ConfigurationError(
                f"handler pattern {pattern!r}: write dotted segments where a whole segment may "
                'be *, such as "github.issues.*"'
            )
        if other := self._handlers.get(pattern):
            raise ConfigurationError(
                f"two handlers for {pattern!r}: {other.name} and {function.__qualname__}; an "
                "event has one handler, so let one call the other"
            )
        self._handlers[pattern] = Handler(
            pattern=pattern,
            function=function,
            takes_transaction=_takes_transaction(function),
            is_async=inspect.iscoroutinefunction(function),
        )
        self._chosen.clear()


def _takes_transaction(function: Callable[..., Any]) -> bool:
    parameters = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if not 1 <= len(parameters) <= 2:
        raise ConfigurationError(
            f"handler {function.__qualname__} takes {len(parameters)} arguments: write "
            "(event) or (event, tx: Transaction)"
        )
    if len(parameters) == 1:
        return False
    try:
        annotation = typing.get_type_hints(function).get(parameters[1].name)
    except NameError:
        # A type imported only for checking; two arguments can mean nothing else.
        annotation = None
    if annotation not in (None, Transaction, Any):
        raise ConfigurationError(
            f"handler {function.__qualname__}: its second argument is the transaction, so "
            f"annotate {parameters[1].name!r} as Transaction"
        )
    return True


def _takes(pattern: str, event_type: str) -> bool:
    if pattern == "*":
        return True
    wanted, given = pattern.split("."), event_type.split(".")
    if wanted[-1] == "*" and len(given) > len(wanted):
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(
        w in ("*", g) for w, g in zip(wanted, given, strict=True)
    )


def _specificity(pattern: str) -> tuple[int, ...]:
    # More segments first, then the one whose literal segments come earlier.
    segments = pattern.split(".")
    return (len(segments), *(segment != "*" for segment in segments))
