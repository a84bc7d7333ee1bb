"""Gives inputs to sessions and has their effects carried out, by who wins the revision.

One who loses looks at what the winner made of it and tries on top of that; effects run in the
winner's process, and their outcomes are inputs again. A sweep ends what has expired, takes over
what nobody carries out any more, and tidies up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

from msgspec.structs import replace

from producer.connect.actions import Catalogue
from producer.connect.effects import Cargo, Effects
from producer.connect.flow import inputs as i
from producer.connect.flow import machine, words
from producer.connect.flow.state import FlowState, Step
from producer.connect.session import Session
from producer.connect.session_store import SessionStore
from schemas.errors import HooklineError, TopicError

log = logging.getLogger("hookline.connect")

_TRIES: Final = 12
_SWEEP_S: Final = 5.0
#: At first, since a customer may wait for it; then twice as long each time.
_TIDY_AGAIN_US: Final = 5_000_000
_TIDY_AT_MOST_US: Final = 1_800_000_000
_OUTCOME_TRIES: Final = 5
#: In one sweep.
_FAIL_AT_MOST: Final = 3
MAX_RUNNING: Final = 500


class Given(i.Refused, frozen=True, kw_only=True):
    """What became of an input: the session afterwards; `code` is empty where it was taken."""

    session: Session
    tasks: tuple[asyncio.Task[None], ...] = ()


class FlowRunner:
    """For one event loop."""

    def __init__(
        self,
        store: SessionStore,
        effects: Effects,
        catalogue: Catalogue,
        now_us: Callable[[], int],
    ) -> None:
        self._store = store
        self._effects = effects
        self._catalogue = catalogue
        self._now_us = now_us
        # One after the other in this process; between processes the revision decides.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self._tidied: dict[str, tuple[int, int]] = {}
        self._failing: set[str] = set()
        self._sweeper: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Sweep from now on; called on the event loop, any number of times."""
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """End; what is under way is taken over by another process."""
        for task in (*self._tasks, *([self._sweeper] if self._sweeper else [])):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def at(self, session: Session) -> i.At:
        """What the machine is told of a session."""
        return i.At(
            now_us=self._now_us(),
            session=session.id,
            get=self._catalogue.get,
            allowed=session.systems,
            fixed=session.system,
        )

    async def start(self, session: Session) -> Session:
        """Write a new session; TopicError or NotAcknowledged if it is not kept."""
        moved = machine.start(self.at(session), session.flow.connection_id)
        made = replace(session, flow=moved.state)
        if not await self._store.put(made):
            raise TopicError("a connect session of this name is there already: try again")
        self._spawn(made, moved.effects, Cargo())
        return made

    async def give(
        self,
        session_id: str,
        given: i.Input,
        *,
        seen: int | None = None,
        cargo: Cargo | None = None,
    ) -> Given:
        """Give an input; `seen`: the revision that it was made on, which must still be the one.

        TopicError or NotAcknowledged while Kafka is away.
        """
        lock = self._locks.get(session_id)
        if lock is None:
            lock = self._locks[session_id] = asyncio.Lock()
        async with lock:
            return await self._give(session_id, given, seen, cargo or Cargo())

    async def _give(self, session_id: str, given: i.Input, seen: int | None, cargo: Cargo) -> Given:
        for _ in range(_TRIES):
            session = self._store.get(session_id)
            if session is None:
                raise TopicError(f"connect session {session_id} is not there")
            if seen is not None and session.flow.seen != seen and not session.flow.ended:
                return Given(code="stale", text=words.STALE, session=session)
            answer = machine.advance(session.flow, given, self.at(session))
            if isinstance(answer, i.Refused):
                return Given(code=answer.code, text=answer.text, session=session)
            made = replace(session, flow=answer.state)
            if answer.state == session.flow or await self._store.put(made):
                return Given(
                    code="", text="", session=made, tasks=self._spawn(made, answer.effects, cargo)
                )
        raise TopicError(f"connect session {session_id} is being changed again and again")

    def _spawn(
        self, session: Session, effects: tuple[i.Effect, ...], cargo: Cargo
    ) -> tuple[asyncio.Task[None], ...]:
        made = []
        for effect in effects:
            if len(self._tasks) >= MAX_RUNNING:
                # It is taken over when there is room.
                log.warning("too many connect sessions at once; a step waits")
                continue
            task = asyncio.create_task(self._carry_out(session, effect, cargo))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            made.append(task)
        return tuple(made)

    async def _carry_out(self, session: Session, effect: i.Effect, cargo: Cargo) -> None:
        run = session.flow.run
        system = self._catalogue.get(session.flow.system)
        if isinstance(effect, i.CleanUp):
            system = self._catalogue.get(effect.flow.system)
        try:
            async for outcome in self._effects.carry_out(session, system, effect, cargo):
                await self._report(session.id, replace(outcome, run=run))
                if isinstance(effect, i.AwaitEvent) and self._superseded(session.id, run):
                    return
        except asyncio.CancelledError:
            raise
        # The task's top: the customer is told, and can try again.
        except Exception:
            log.exception("a step of connect session %s failed", session.id)
            await self._report(session.id, i.Failed(explanation=words.ours_failing(), run=run))

    def _superseded(self, session_id: str, run: int) -> bool:
        session = self._store.get(session_id)
        return session is None or session.flow.run != run

    async def _report(self, session_id: str, outcome: i.Outcome) -> None:
        for tried in range(_OUTCOME_TRIES):
            try:
                await self.give(session_id, outcome)
                return
            except HooklineError as error:
                data = {"session": session_id, "why": str(error)}
                log.warning("what came of a step could not be written", extra={"data": data})
                await asyncio.sleep(0.5 * 2**tried)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            try:
                await self._swept(self._store.all())
            except HooklineError as error:
                log.warning("connect sessions cannot be swept", extra={"data": {"why": str(error)}})
            # The task's top: the next sweep tries again.
            except Exception:
                log.exception("connect sessions cannot be swept; trying again")

    async def _swept(self, sessions: list[Session]) -> None:
        """All that are due. One that fails stands in nobody's way: it comes last the next time."""
        there = {session.id for session in sessions}
        self._failing &= there
        for gone in self._tidied.keys() - there:
            del self._tidied[gone]
        failed = 0
        for session in sorted(sessions, key=lambda one: one.id in self._failing):
            try:
                if (given := self._due(session)) is not None:
                    await self.give(session.id, given)
            except HooklineError as error:
                data = {"session": session.id, "why": str(error)}
                log.warning("a connect session cannot be swept", extra={"data": data})
                failed += 1
            # As the task's top, for one session: what of it is amiss, the others have not.
            except Exception:
                log.exception("connect session %s cannot be swept", session.id)
            else:
                self._failing.discard(session.id)
                continue
            self._failing.add(session.id)
            if failed >= _FAIL_AT_MOST:
                # Kafka is away, and each one that is tried waits for it.
                return

    def _due(self, session: Session) -> i.Input | None:
        flow, now_us = session.flow, self._now_us()
        if not flow.ended and now_us >= session.expires_at_us:
            return i.Expire()
        if flow.running:
            dead = now_us - flow.running_since_us >= machine.DEAD_AFTER_US
            return i.Interrupted() if dead else None
        if not _untidy(flow):
            self._tidied.pop(session.id, None)
            return None
        due_us, wait_us = self._tidied.get(session.id, (now_us + _TIDY_AGAIN_US, _TIDY_AGAIN_US))
        if session.id in self._tidied and now_us >= due_us:
            wait_us = min(2 * wait_us, _TIDY_AT_MOST_US)
            self._tidied[session.id] = (now_us + wait_us, wait_us)
            return i.TidyUp()
        self._tidied[session.id] = (due_us, wait_us)
        return None


def _untidy(flow: FlowState) -> bool:
    if flow.ended and flow.step is not Step.CONNECTED:
        return flow.left_over
    waiting = flow.intended or flow.discarded or flow.stray_webhooks
    return bool(waiting or (flow.stale and flow.written))
