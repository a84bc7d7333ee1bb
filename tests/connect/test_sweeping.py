"""The sweep looks after every session, also beside one that cannot be looked after."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

import pytest

from producer.connect.effects import Effects
from producer.connect.flow import inputs as i
from producer.connect.running import FlowRunner, Given
from producer.connect.session import Session
from producer.connect.session_store import SessionStore
from producer.connect.systems import Catalogue
from schemas.errors import HooklineError, NotAcknowledged


class Sweeping(FlowRunner):
    """A runner whose sessions have all expired; some cannot be written, or are amiss."""

    def __init__(self, broken: dict[str, Exception]) -> None:
        nothing = cast(Any, None)
        super().__init__(
            cast(SessionStore, nothing), cast(Effects, nothing), Catalogue([]), lambda: 1_000
        )
        self.broken = broken
        self.tried: Counter[str] = Counter()
        self.ended: list[str] = []

    async def give(self, session_id: str, given: i.Input, **more: Any) -> Given:
        assert isinstance(given, i.Expire)
        self.tried[session_id] += 1
        if session_id in self.broken:
            raise self.broken[session_id]
        self.ended.append(session_id)
        return cast(Given, None)


def session(name: str) -> Session:
    return Session(
        id=name, environment="test", digest=b"", tenant="acme", created_at_us=0, expires_at_us=0
    )


SESSIONS = [session(name) for name in "abcdefgh"]


@pytest.mark.parametrize("error", [NotAcknowledged("too large"), KeyError("amiss")])
def test_one_that_cannot_be_written_stands_in_nobodys_way(error: Exception) -> None:
    runner = Sweeping({"a": error})
    asyncio.run(runner._swept(SESSIONS))
    assert runner.ended == list("bcdefgh")


def test_some_that_stay_broken_come_last_and_are_tried_again() -> None:
    broken: dict[str, Exception] = {name: NotAcknowledged("away") for name in "abcd"}
    runner = Sweeping(broken)
    for _ in range(3):
        asyncio.run(runner._swept(SESSIONS))
    assert set(runner.ended) >= set("efgh")
    broken.clear()
    asyncio.run(runner._swept(SESSIONS))
    assert set(runner.ended) == set("abcdefgh")


def test_while_nothing_can_be_written_a_few_are_tried(caplog: pytest.LogCaptureFixture) -> None:
    error: HooklineError = NotAcknowledged("away")
    runner = Sweeping({one.id: error for one in SESSIONS})
    asyncio.run(runner._swept(SESSIONS))
    assert sum(runner.tried.values()) == 3


def test_what_is_remembered_of_a_session_goes_with_it() -> None:
    runner = Sweeping({"a": NotAcknowledged("away")})
    runner._tidied["a"] = (0, 1)
    asyncio.run(runner._swept(SESSIONS))
    asyncio.run(runner._swept(SESSIONS[1:]))
    assert (runner._failing, runner._tidied) == (set(), {})
