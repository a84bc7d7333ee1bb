"""API tokens and the audit log of a process, wired from the settings."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from credentials.audit_log import AuditLog
from credentials.followed_tokens import FollowedTokens, LastUses
from credentials.resolver import Resolver
from hookline.settings.loading import Settings
from producer.connections.clients import TopicAccess, TopicWriter
from producer.connections.follower import Follower
from producer.connections.knocking import nobody_listens
from schemas.errors import HooklineError, TopicError

log = logging.getLogger("hookline.access")

_WRITE_USES_EVERY_S: Final = 60.0


def now_us() -> int:
    """The time, in Unix µs."""
    return time.time_ns() // 1000


def tokens_access(settings: Settings, resolver: Resolver) -> TopicAccess:
    """Where the tokens topic is, with the secrets that reaching it takes."""
    return _access(settings, resolver, settings.topics.tokens, "tokens")


def audit_access(settings: Settings, resolver: Resolver) -> TopicAccess:
    """The same of the audit topic."""
    return _access(settings, resolver, settings.topics.audit, "audit")


class TokenFollower:
    """The tokens as this process follows them, and notes of their use, from `start` to `close`."""

    def __init__(self, settings: Settings, resolver: Resolver, used_in: str) -> None:
        access = tokens_access(settings, resolver)
        self.tokens = FollowedTokens(settings.environment)
        self._follower = Follower(access, self.tokens)
        self.tokens.reason = lambda: self._follower.problem
        self._uses = LastUses(settings.environment, used_in, now_us)
        self._access = access
        self._stopping = threading.Event()
        self._writer = threading.Thread(target=self._write, name="hookline-uses", daemon=True)

    def used(self, token_id: str) -> None:
        """A token that counts was used now; costs next to nothing."""
        self._uses.note(token_id)

    def start(self) -> None:
        """Begin to follow."""
        self._follower.start()
        self._writer.start()

    def close(self, within_s: float = 2.0) -> None:
        """End."""
        self._stopping.set()
        self._follower.stop(within_s)
        self._writer.join(within_s)

    def live(self) -> tuple[bool, str]:
        """False when only a new process helps, and why."""
        alive = self._follower.alive
        return alive, "" if alive else "the API tokens are followed no more: a thread has ended"

    def ready(self) -> tuple[bool, str]:
        """Whether it is known which tokens there are, and if not, why."""
        problem = self.tokens.problem
        return not problem, f"API tokens are not known: {problem}" if problem else ""

    def _write(self) -> None:
        writer: TopicWriter | None = None
        while not self._stopping.wait(_WRITE_USES_EVERY_S):
            records = self._uses.take()
            if not records:
                continue
            try:
                writer = writer or self._access.writer()
                writer.write_all(records)
            except HooklineError as error:
                # No more than a minute of `last used` is lost, and it is tried again with the next.
                log.warning("a token's last use was not noted", extra={"data": {"why": str(error)}})


class AuditWriter:
    """The audit topic, reached at the first record, so that what changes nothing costs nothing."""

    def __init__(self, access: TopicAccess) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._writer: TopicWriter | None = None

    def write(self, key: bytes, value: bytes | None) -> int:
        """The record's offset once it is safe."""
        with self._lock:
            if self._writer is None:
                writer = self._access.writer()
                # Asked for first: a producer waits long for what is not there.
                if nobody_listens(self._access.bootstrap_servers):
                    raise TopicError(f"nobody listens at {self._access.bootstrap_servers}")
                if problem := self._access.problem(writer.producer, 5.0):
                    raise TopicError(problem)
                self._writer = writer
            return self._writer.write(key, value)


def audit_log(
    settings: Settings,
    resolver: Resolver,
    redact: Callable[[str], str],
    warn: Callable[[str], None] = log.warning,
) -> AuditLog:
    """The audit log of this deployment. `warn` is told what could not be written."""
    return AuditLog(
        AuditWriter(audit_access(settings, resolver)),
        settings.environment,
        redact=redact,
        required=settings.audit.required,
        warn=warn,
        now_us=now_us,
    )


def _access(settings: Settings, resolver: Resolver, topic: str, about: str) -> TopicAccess:
    return TopicAccess(
        settings.kafka.bootstrap_servers,
        topic,
        settings.kafka.resolved_properties(resolver),
        about,
    )
