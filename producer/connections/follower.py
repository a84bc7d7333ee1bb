"""The thread that reads the topic from its beginning and then for as long as the process runs.

It hands over what it reads and does nothing else that could wait, so that a revocation is not held
up by anything but Kafka.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import Final, NamedTuple, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from producer.connections.clients import PARTITION, TopicAccess

log = logging.getLogger("hookline.connections")

_POLL_S: Final = 0.5
_AGAIN_S: Final = 1.0
_MAX_AGAIN_S: Final = 30.0
_ASK_AGAIN_S: Final = 0.5
_ASK_EVERY_S: Final = 2.0
_CONFIRM_EVERY_S: Final = 5.0
#: Kafka keeps the record of a removal for a day (`delete.retention.ms`), and then no trace of it.
_STALE_S: Final = 3600.0
#: Longer than any call of the thread may take.
_STUCK_S: Final = 60.0


class Listener(Protocol):
    """What is told of the topic, always on the follower's thread."""

    def began(self, anew: bool) -> None:
        """Reading starts at the topic's beginning: what came before is told again.

        `anew`: the place that was read to is gone, or the topic's first records are, so that it
        may have lost what it said.
        """

    def came(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """A record."""

    def ended(self, offset: int) -> None:
        """All that there is below this offset has come; told each time that the end is reached."""


class Newest(NamedTuple):
    """What the partition's leader said: the offset that the next record will have, and when."""

    offset: int
    at_s: float


class _StartOver(Exception):
    """The place that was read to is gone: the topic was made anew."""


class _TooLate(Exception):
    """It was without an answer for so long that it may have missed a removal."""


class Follower:
    """Runs on a thread of its own from `start` to `stop`."""

    def __init__(self, access: TopicAccess, listener: Listener, *, expires: bool = False) -> None:
        """`expires`: the topic's records do so, and that the first ones are gone means nothing."""
        self._expires = expires
        self._access = access
        self._listener = listener
        self._stopping = threading.Event()
        self._about = f"the {access.about} topic"
        name = f"hookline-{access.about}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._turned_s = time.monotonic()
        self._ended = False
        self._read_to = 0
        self._proven_s = time.monotonic()
        #: As last asked, which is every 5 s while there is an answer; None before the first.
        self.newest: Newest | None = None
        self._anew = False
        #: Why nothing can be read now; empty while all is well.
        self.problem = "Kafka has not answered yet"

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """End; the thread is a daemon, should it be stuck."""
        self._stopping.set()
        self._thread.join(within_s)

    @property
    def alive(self) -> bool:
        """False when only a new process helps: the thread has ended, or stands still."""
        turning = time.monotonic() - self._turned_s < _STUCK_S
        return (self._thread.is_alive() and turning) or self._stopping.is_set()

    def _run(self) -> None:
        wait_s = _AGAIN_S
        while not self._stopping.is_set():
            try:
                self._follow()
                return
            except _StartOver:
                self._anew = True
                log.warning("%s was made anew: reading it from its beginning", self._about)
            except _TooLate:
                log.warning("Kafka was away for long: reading %s from its beginning", self._about)
            # The thread's top: the process goes on with what it knows, and this tries again.
            except Exception as error:
                self.problem = f"{self._about} cannot be followed: {error}"
                log.exception("%s cannot be followed; trying again", self._about)
            wait_s = _AGAIN_S if self._ended else min(2 * wait_s, _MAX_AGAIN_S)
            self._stopping.wait(wait_s)

    def _follow(self) -> None:
        self._ended = False
        self._proven_s = math.inf
        consumer = self._access.reader()
        try:
            # The broker says that there is no more only after it has waited for more: the leader
            # says at once where the end is, if it is asked before the reading begins, as it answers
            # one question of a client after the other.
            while (ends := self._ends_or_problem(consumer)) is None:
                self._turned_s = time.monotonic()
                # What the client has to say waits for this, in memory and without a bound.
                consumer.poll(0)
                if self._stopping.wait(_ASK_AGAIN_S):
                    return
            self._say("")
            first, last = ends
            lacks = first > 0 and not self._expires
            self._listener.began(self._anew or lacks)
            self._anew = False
            self._access.begin(consumer)
            if lacks:
                log.error(
                    "%s lacks its first records, which may have been revocations: let nothing but "
                    "compaction clean it (`hookline topics check`), and revoke them again",
                    self._about,
                    extra={"data": {"topic": self._access.topic, "first_offset": first}},
                )
            if first == last:
                self._end(last)
            asked_s = time.monotonic()
            while not self._stopping.is_set():
                message = consumer.poll(_POLL_S)
                now_s = self._turned_s = time.monotonic()
                if self._ended and now_s - asked_s > _CONFIRM_EVERY_S:
                    self._confirm(consumer)
                    asked_s = time.monotonic()
                if message is None:
                    if not self._ended and now_s - asked_s > _ASK_EVERY_S:
                        self._say(self._access.problem(consumer))
                        asked_s = time.monotonic()
                    continue
                error = message.error()
                if error is None:
                    self._prove()
                    self._read_to = (message.offset() or 0) + 1
                    self._listener.came(message.key(), message.value(), self._read_to - 1)
                    if not self._ended and self._read_to == last:
                        self._end(last)
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._end(message.offset() or 0)
                else:
                    self._note(error)
        finally:
            consumer.close()

    def _ends_or_problem(self, consumer: Consumer) -> tuple[int, int] | None:
        """As `_ends`; where there is none, what is in the way has been said."""
        problem = self._access.problem(consumer)
        found = self._ends(consumer) if not problem else None
        if found is None:
            self._say(problem or f"the leader of topic {self._access.topic} does not answer")
        return found

    def _confirm(self, consumer: Consumer) -> None:
        """Ask where the end is. On this thread: poll keeps the client from any other for ever."""
        found = self._ends(consumer)
        if found is None:
            return
        if found[1] < self._read_to:
            raise _StartOver
        self._prove()
        self.newest = Newest(found[1], time.monotonic())

    def _prove(self) -> None:
        now_s = time.monotonic()
        if now_s - self._proven_s > _STALE_S:
            raise _TooLate
        self._proven_s = now_s

    def _ends(self, consumer: Consumer) -> tuple[int, int] | None:
        """The offsets of the first record and behind the last; None if the leader is silent."""
        try:
            found = consumer.get_watermark_offsets(
                TopicPartition(self._access.topic, PARTITION), timeout=2.0
            )
        except KafkaException:
            return None
        return (int(found[0]), int(found[1])) if found is not None else None

    def _end(self, offset: int) -> None:
        self._prove()
        self._say("")
        self._ended = True
        self._read_to = offset
        self._listener.ended(offset)

    def _note(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise _StartOver
        if error.fatal() or error.code() == KafkaError._FATAL:
            raise KafkaException(error)
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            self._say(f"topic {self._access.topic} is not there: run `hookline topics apply`")
        else:
            self._say(f"Kafka reports: {error.str()}")

    def _say(self, problem: str) -> None:
        """Note it, and say it if it is news."""
        if problem != self.problem:
            self.problem = problem
            if problem:
                log.warning(
                    "%s cannot be read now", self._about, extra={"data": {"reason": problem}}
                )
