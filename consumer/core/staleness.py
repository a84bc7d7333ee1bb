"""Whether an event is older than what has been applied to its resource.

Providers send out of order; Kafka keeps the order of arrival, so order among providers' own
events is told by the resource's version, or by when the provider says that it happened.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Stale(StrEnum):
    """What a handler wants of a stale event."""

    #: Apply it like any other; versions are not even looked up.
    APPLY = "apply"
    #: Count it, note it as done, and do nothing.
    SKIP = "skip"
    #: Call the handler's `refetch` function, which asks the provider for the present state.
    REFETCH = "refetch"


class Applied(msgspec.Struct, frozen=True):
    """The newest event that was applied to a resource; `deleted` if that one was its end."""

    version: int | None = None
    occurred_at_us: int | None = None
    deleted: bool = False


def is_stale(event: Applied, applied: Applied | None) -> bool:
    """Whether `event` is older than `applied`; False where the two cannot be compared.

    Versions are compared where both have one, else the times. What is equally old is applied
    (two changes within the resolution of a provider's clock), except onto a deleted resource:
    only what is strictly newer brings that back.
    """
    if applied is None:
        return False
    if event.version is not None and applied.version is not None:
        older, same = event.version < applied.version, event.version == applied.version
    elif event.occurred_at_us is not None and applied.occurred_at_us is not None:
        older = event.occurred_at_us < applied.occurred_at_us
        same = event.occurred_at_us == applied.occurred_at_us
    else:
        # Nothing says which came first. After a delete the order of arrival is all there is.
        return False
    return older or (same and applied.deleted and not event.deleted)


def newest(event: Applied, applied: Applied | None) -> Applied:
    """What is applied once `event` has been, too."""
    if applied is None:
        return event
    if is_stale(event, applied):
        return applied
    # A version once seen stays: an event without one must not open the door to older ones.
    return Applied(
        event.version if event.version is not None else applied.version,
        event.occurred_at_us if event.occurred_at_us is not None else applied.occurred_at_us,
        event.deleted,
    )
