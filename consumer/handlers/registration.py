"""Handlers, registered by event-type pattern; exactly one is chosen for an event.

A pattern is dotted segments, `*` stands for one segment, or at the end for one or more:
`github.issues.*` takes `github.issues.opened`. The most specific pattern wins.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar

import msgspec

from consumer.core.staleness import Stale
from consumer.stores.transaction import Transaction
from schemas.errors import ConfigurationError
from schemas.probe import is_probe

F = TypeVar("F", bound=Callable[..., Any])

_PATTERN: Final = re.compile(r"(?:\*|[A-Za-z0-9_:-]+)(?:\.(?:\*|[A-Za-z0-9_:-]+))*")
_CACHE_SIZE: Final = 4096


class Handler(msgspec.Struct, frozen=True, eq=False):
    """One registered function and what it asks for."""

    pattern: str
    function: Callable[..., Any]
    takes_transaction: bool
    is_async: bool
    #: At most so many events in one call; 0: one event, not a list.
    batch_size: int = 0
    stale: Stale = Stale.APPLY
    #: Called in place of `function` for a stale event.
    refetch: Callable[..., Any] | None = None
    #: These events end their resource: only what is strictly newer brings it back.
    deletes: bool = False

    @property
    def tracks_versions(self) -> bool:
        """Whether what is applied to a resource is looked up and noted."""
        return self.stale is not Stale.APPLY

    @property
    def name(self) -> str:
        """`module.function`, for logs and metrics."""
        return f"{self.function.__module__}.{_name(self.function)}"


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

    def on(
        self,
        *patterns: str,
        stale: Literal["apply", "skip", "refetch"] = "apply",
        refetch: Callable[..., Any] | None = None,
        deletes: bool = False,
    ) -> Callable[[F], F]:
        """Register a function, `def` or `async def`, for event types of these patterns.

        `stale`: what to do with an event older than what was applied to its resource: apply it
        all the same, skip it, or call `refetch` (of the same kind as the handler) instead.
        `deletes`: these events end their resource, so an update that comes late stays away.
        """
        _check_patterns("on", patterns)
        kind = _check_stale(stale, refetch, deletes)

        def register(function: F) -> F:
            if refetch is not None and _shape(refetch) != _shape(function):
                raise ConfigurationError(
                    f"handler {_name(function)}: its refetch function {_name(refetch)} must take "
                    "the same arguments and be async or not as the handler is"
                )
            takes_transaction, is_async = _shape(function)
            for pattern in patterns:
                self._register(
                    Handler(
                        pattern=pattern,
                        function=function,
                        takes_transaction=takes_transaction,
                        is_async=is_async,
                        stale=kind,
                        refetch=refetch,
                        deletes=deletes,
                    )
                )
            return function

        return register

    def batch(
        self,
        *patterns: str,
        max_size: int = 500,
        stale: Literal["apply", "skip"] = "apply",
        deletes: bool = False,
    ) -> Callable[[F], F]:
        """Register a function that takes a list of events and the transaction.

        The list has events of many resources, those of each in their order. An exception takes
        the whole list back; its events are then handled in lists of one, so that only the one at
        fault is tried again.
        """
        _check_patterns("batch", patterns)
        if max_size < 1:
            raise ConfigurationError(f"handlers.batch: max_size is {max_size}; write 1 or more")
        kind = _check_stale(stale, None, deletes)

        def register(function: F) -> F:
            takes_transaction, is_async = _shape(function)
            if not takes_transaction:
                raise ConfigurationError(
                    f"batch handler {_name(function)} takes only the events: write "
                    "(events, tx: Transaction), as only a transaction can take a list back"
                )
            for pattern in patterns:
                self._register(
                    Handler(
                        pattern=pattern,
                        function=function,
                        takes_transaction=True,
                        is_async=is_async,
                        batch_size=max_size,
                        stale=kind,
                        deletes=deletes,
                    )
                )
            return function

        return register

    def find(self, event_type: str) -> Handler | None:
        """The handler with the most specific pattern that takes this type, or None."""
        try:
            return self._chosen[event_type]
        except KeyError:
            pass
        # A probe stands for nothing: only who names its type gets it, and no pattern does.
        taking = [
            h
            for h in self._handlers.values()
            if h.pattern == event_type
            or (_takes(h.pattern, event_type) and not is_probe(event_type))
        ]
        chosen = max(taking, key=lambda h: _specificity(h.pattern), default=None)
        # Types come from outside: a sender that invents one for each event must not fill memory.
        if len(self._chosen) >= _CACHE_SIZE:
            self._chosen.clear()
        self._chosen[event_type] = chosen
        return chosen

    def _register(self, handler: Handler) -> None:
        pattern = handler.pattern
        if not _PATTERN.fullmatch(pattern):
            raise ConfigurationError(
                f"handler pattern {pattern!r}: write dotted segments where a whole segment may "
                'be *, such as "github.issues.*"'
            )
        if other := self._handlers.get(pattern):
            raise ConfigurationError(
                f"two handlers for {pattern!r}: {other.name} and {_name(handler.function)}; an "
                "event has one handler, so let one call the other"
            )
        self._handlers[pattern] = handler
        self._chosen.clear()


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)


def _check_patterns(method: str, patterns: tuple[str, ...]) -> None:
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        raise ConfigurationError(
            f"handlers.{method} needs the event types it is for: "
            f'@handlers.{method}("github.issues.*")'
        )


def _check_stale(stale: str, refetch: Callable[..., Any] | None, deletes: bool) -> Stale:
    try:
        kind = Stale(stale)
    except ValueError:
        raise ConfigurationError(
            f'stale={stale!r}: write "apply", "skip", or "refetch" with a refetch function'
        ) from None
    if (kind is Stale.REFETCH) != (refetch is not None):
        raise ConfigurationError(
            'stale="refetch" and refetch=function go together: the function is called in place '
            "of the handler when the event is older than what was applied"
        )
    if deletes and kind is Stale.APPLY:
        raise ConfigurationError(
            'deletes=True needs stale="skip" or "refetch": with "apply" versions are not looked '
            "at, and a late update would bring the resource back"
        )
    return kind


def _shape(function: Callable[..., Any]) -> tuple[bool, bool]:
    """Whether it takes the transaction, and whether it is async."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(
            f"handler {_name(function)} is a generator: calling it does nothing; take out `yield`"
        )
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object that is called as a function
    )
    return _takes_transaction(function), is_async


def _takes_transaction(function: Callable[..., Any]) -> bool:
    parameters = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if not 1 <= len(parameters) <= 2:
        raise ConfigurationError(
            f"handler {_name(function)} takes {len(parameters)} arguments: write "
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
            f"handler {_name(function)}: its second argument is the transaction, so "
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
