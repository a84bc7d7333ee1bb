"""Notes every call of a handler, without changing what it does."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from consumer.handlers.registration import Handler, Handlers
from hookline.testing.faults import Crash, InjectedFailure
from hookline.testing.report import Call
from schemas.event import Event


class Recording:
    """The calls in their order."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    @contextmanager
    def call(self, handler: Handler, argument: Event | list[Event]) -> Iterator[None]:
        """Note one call."""
        error: BaseException | None = None
        try:
            yield
        except Crash:
            raise
        except BaseException as raised:
            error = None if isinstance(raised, InjectedFailure) else raised
            raise
        finally:
            self.calls.append(
                Call(
                    handler=handler.name,
                    events=(argument,) if isinstance(argument, Event) else tuple(argument),
                    transactional=handler.takes_transaction,
                    error=error,
                )
            )


class RecordedHandlers(Handlers):
    """A registry whose handlers note their calls."""

    def __init__(self, inner: Handlers, recording: Recording) -> None:
        super().__init__()
        self._inner = inner
        self._recording = recording
        # By pattern: the engine compares handlers by identity.
        self._recorded: dict[str, Handler] = {}

    def find(self, event_type: str) -> Handler | None:
        """The handler of the registry within, recorded."""
        found = self._inner.find(event_type)
        if found is None:
            return None
        if found.pattern not in self._recorded:
            self._recorded[found.pattern] = replace(
                found,
                function=self._wrapped(found, found.function),
                refetch=found.refetch and self._wrapped(found, found.refetch),
            )
        return self._recorded[found.pattern]

    def _wrapped(self, handler: Handler, function: Callable[..., Any]) -> Callable[..., Any]:
        if handler.is_async:

            async def recorded_async(argument: Any, *transaction: Any) -> Any:
                with self._recording.call(handler, argument):
                    return await function(argument, *transaction)

            return functools.wraps(function, updated=())(recorded_async)

        def recorded(argument: Any, *transaction: Any) -> Any:
            with self._recording.call(handler, argument):
                return function(argument, *transaction)

        return functools.wraps(function, updated=())(recorded)
