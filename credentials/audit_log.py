"""Writes the audit log: an intent before a change, how it ended behind it.

The intent is safe on Kafka before anything is touched, so no change is without a trace of it: a
crash in between leaves an intent without a result, which reads as "may have happened". A result
alone would lose just the change that went wrong; an intent alone would not tell a change from an
attempt.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

import msgspec

from schemas.access_codec import AUDIT
from schemas.audit import CHANGE_ID_BYTES, MAX_DETAILS, MAX_TEXT_CHARS, AuditRecord, Phase
from schemas.errors import AuditUnavailable, HooklineError, NotAcknowledged
from schemas.request_id import RANDOM_BYTES, make

log = logging.getLogger("hookline.audit")

_URGENT_S: Final = 1.0


class AuditTopic(Protocol):
    """Where records go."""

    def write(self, key: bytes, value: bytes | None) -> int:
        """The record's offset once it is safe; HooklineError if it may not be."""


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a change: `who` is user@host of a command, or the id of an API token."""

    who: str
    who_name: str = ""
    via: str
    from_where: str = ""


class Change(msgspec.Struct, kw_only=True):
    """A change under way."""

    intent: AuditRecord
    noted: dict[str, str] = {}

    @property
    def request_id(self) -> bytes:
        """Under which it is found."""
        return self.intent.request_id

    def note(self, **facts: object) -> None:
        """Facts about how it went: counts, names and times, never a value."""
        self.noted |= {name: str(fact) for name, fact in facts.items()}


class AuditLog:
    """The audit log of one environment. `redact` is the last look at each text."""

    def __init__(
        self,
        topic: AuditTopic,
        environment: str,
        *,
        redact: Callable[[str], str],
        required: bool = True,
        warn: Callable[[str], None] = log.warning,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """`required`: what cannot be written here is not done, unless it is urgent."""
        self._topic = topic
        self._environment = environment
        self._redact = redact
        self._required = required
        self._warn = warn
        self._now_us = now_us
        self._random = random

    def begin(
        self,
        actor: Actor,
        action: str,
        *,
        target: str = "",
        connection: str = "",
        request_id: bytes = b"",
        details: Mapping[str, object] | None = None,
        urgent: bool = False,
    ) -> Change:
        """Write the intent; AuditUnavailable, and nothing may be changed, if that fails.

        `urgent`: done all the same, as a revocation is: whoever can keep the audit log away must
        not be able to keep a leaked token alive with it.
        """
        now_us = self._now_us()
        intent = AuditRecord(
            change_id=self._random(CHANGE_ID_BYTES),
            phase=Phase.INTENT,
            at_us=now_us,
            environment=self._environment,
            who=self._text(actor.who),
            who_name=self._text(actor.who_name),
            via=self._text(actor.via),
            from_where=self._text(actor.from_where),
            action=action,
            target=self._text(target),
            connection=self._text(connection),
            request_id=request_id or make(now_us // 1000, self._random(RANDOM_BYTES)),
            details=self._details(details or {}),
        )
        try:
            if urgent:
                self._write_soon(intent)
            else:
                self._write(intent)
        except HooklineError as error:
            if self._required and not urgent:
                raise AuditUnavailable(
                    f"nothing was changed, since the audit log could not be written: {error}"
                ) from None
            self._warn(f"{action} {intent.target} is done without a record of it: {error}")
        return Change(intent=intent)

    def end(self, change: Change, error: BaseException | None = None) -> None:
        """Write how it ended; never raises, as the change cannot be taken back."""
        intent = change.intent
        result = msgspec.structs.replace(
            intent,
            phase=Phase.DONE if error is None else Phase.FAILED,
            at_us=self._now_us(),
            details=self._details(intent.details | change.noted),
            error_type="" if error is None else type(error).__name__,
        )
        try:
            self._write(result)
        except HooklineError as away:
            self._warn(
                f"how {intent.action} {intent.target} ended could not be written to the audit log, "
                f"which says `unknown` of it: {away}"
            )

    @contextmanager
    def change(self, actor: Actor, action: str, **about: object) -> Iterator[Change]:
        """`begin` and `end` around a change; arguments as `begin` has them."""
        change = self.begin(actor, action, **about)  # type: ignore[arg-type]
        try:
            yield change
        except BaseException as error:
            self.end(change, error)
            raise
        self.end(change)

    def _write(self, record: AuditRecord) -> None:
        self._topic.write(record.change_id, AUDIT.encode(record))

    def _write_soon(self, record: AuditRecord) -> None:
        """Before a revocation: no longer than that may wait. What comes late is not lost."""
        failures: list[HooklineError] = []

        def write() -> None:
            try:
                self._write(record)
            except HooklineError as error:
                failures.append(error)

        thread = threading.Thread(target=write, name="hookline-audit", daemon=True)
        thread.start()
        thread.join(_URGENT_S)
        if failures:
            raise failures[0]
        if thread.is_alive():
            raise NotAcknowledged(f"it did not take the intent within {_URGENT_S:g} s")

    def _details(self, details: Mapping[str, object]) -> dict[str, str]:
        shown = list(details.items())[:MAX_DETAILS]
        return {self._text(name): self._text(str(value)) for name, value in shown}

    def _text(self, text: str) -> str:
        text = self._redact(text.encode("utf-8", "backslashreplace").decode())
        return text if len(text) <= MAX_TEXT_CHARS else f"{text[: MAX_TEXT_CHARS - 1]}…"
