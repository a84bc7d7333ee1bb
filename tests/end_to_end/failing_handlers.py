"""Handlers that fail as the event's type says: for traces, executions, `hookline trace`."""

from __future__ import annotations

from collections import Counter

from hookline import Event, Handlers, PermanentError, Transaction

handlers = Handlers()
_calls: Counter[str] = Counter()


@handlers.on("*")
def works(event: Event, tx: Transaction) -> None:
    """Has no effect but the note that it is done."""


@handlers.on("standard_webhooks.order.twice")
def fails_twice(event: Event, tx: Transaction) -> None:
    """Works at the third call."""
    _calls[event.event_id] += 1
    if _calls[event.event_id] <= 2:
        raise ConnectionError("what it needs is away")


@handlers.on("standard_webhooks.order.never")
def never_works(event: Event, tx: Transaction) -> None:
    """Until its retry budget is spent."""
    raise ConnectionError("what it needs is away")


@handlers.on("standard_webhooks.order.wrong")
def cannot_work(event: Event, tx: Transaction) -> None:
    """A dead letter at once."""
    raise PermanentError("no such order")
