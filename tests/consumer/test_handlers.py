"""Registration: which function gets which event, and what it is given."""

from __future__ import annotations

import pytest

from hookline import Event, Handlers, Transaction
from schemas.errors import ConfigurationError


@pytest.mark.parametrize(
    ("pattern", "event_type", "takes"),
    [
        ("github.issues.*", "github.issues.opened", True),
        ("github.issues.*", "github.issues", False),
        ("github.*", "github.issues.opened", True),
        ("github.*.opened", "github.issues.opened", True),
        ("github.*.opened", "github.issues.closed", False),
        ("github.push", "github.push", True),
        ("github.push", "github.push.x", False),
        ("*", "anything.at.all", True),
        ("*.push", "github.push", True),
    ],
)
def test_a_pattern_takes_what_it_says(pattern: str, event_type: str, takes: bool) -> None:
    handlers = Handlers()
    handlers.on(pattern)(lambda event: None)
    assert (handlers.find(event_type) is not None) is takes


def test_the_most_specific_pattern_wins_whatever_the_order() -> None:
    handlers = Handlers()
    for pattern in ("*", "github.issues.opened", "github.*", "github.issues.*", "*.issues.opened"):
        handlers.on(pattern)(lambda event: None)
    found = {t: handlers.find(t) for t in ("github.issues.opened", "github.issues.x", "github.y")}
    assert {t: h.pattern for t, h in found.items() if h} == {
        "github.issues.opened": "github.issues.opened",
        "github.issues.x": "github.issues.*",
        "github.y": "github.*",
    }


def test_a_transaction_is_asked_for_by_a_second_argument() -> None:
    handlers = Handlers()

    @handlers.on("a")
    def with_it(event: Event, tx: Transaction) -> None: ...

    @handlers.on("b")
    async def without_it(event: Event) -> None: ...

    @handlers.on("c")
    def unannotated(event, tx):  # type: ignore[no-untyped-def]
        ...

    kinds = {h.pattern: (h.takes_transaction, h.is_async) for h in handlers}
    assert kinds == {"a": (True, False), "b": (False, True), "c": (True, False)}


def test_mistakes_are_told_at_registration() -> None:
    handlers = Handlers()
    handlers.on("a.b")(lambda event: None)
    with pytest.raises(ConfigurationError, match=r"two handlers for 'a\.b'"):
        handlers.on("a.b")(lambda event: None)
    with pytest.raises(ConfigurationError, match="whole segment"):
        handlers.on("a.b*")(lambda event: None)
    with pytest.raises(ConfigurationError, match="takes 3 arguments"):
        handlers.on("c")(lambda event, tx, more: None)
    with pytest.raises(ConfigurationError, match="annotate 'other' as Transaction"):

        @handlers.on("d")
        def wrong(event: Event, other: int) -> None: ...

    with pytest.raises(ConfigurationError, match="needs the event types"):
        handlers.on()


def test_a_flood_of_invented_types_does_not_fill_memory() -> None:
    handlers = Handlers()
    for n in range(10_000):
        handlers.find(f"invented.{n}")
    assert len(handlers._chosen) <= 4096
