"""Sees a connection's events arrive on Kafka, for a flow that waits for its test event; and that a
gateway has refused one for its signature, of which it takes nothing but that.

One consumer for all who wait, on one thread, and only while somebody waits. It begins at the time
that each wait counts from, so an event that was there before anybody looked is seen all the same.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from confluent_kafka import OFFSET_END, Consumer, KafkaError, TopicPartition

from producer.providers.provider import Refusal
from schemas.errors import CodecError
from schemas.event import HEADER_REQUEST_ID
from schemas.execution import Reception
from schemas.execution_batch import decode_rows

log = logging.getLogger("hookline.connect")

#: The broker's clock and ours may differ by so much.
_MARGIN_MS: Final = 5_000
_BATCH: Final = 500
#: Records of a partition.
_LOOK_BACK: Final = 100
_POLL_S: Final = 0.2
_TIMEOUT_S: Final = 5.0
_AGAIN_S: Final = 1.0
MAX_WAITING: Final = 2_000
_WRONG: Final = Refusal.SIGNATURE_WRONG.value


class Arrival(msgspec.Struct, frozen=True):
    """An event; `at` is topic/partition/offset."""

    request_id: str
    at: str


class Mismatch(msgspec.Struct, frozen=True):
    """A webhook whose signature is none of the connection's secrets; when it came (Unix µs)."""

    received_at_us: int


class _Waiting(msgspec.Struct, eq=False):
    since_ms: int
    #: Refusals after this time count; None where they do not.
    refused_since_us: int | None
    loop: asyncio.AbstractEventLoop
    found: asyncio.Future[Arrival | Mismatch]


class Arrivals:
    """The tail of the events topic, and of the gateways' receptions beside it."""

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        properties: Mapping[str, Any] | None = None,
        receptions: str = "",
    ) -> None:
        """`receptions`: the executions topic; without it, or while it is not there, nothing is
        known of refusals."""
        self._topic = topic
        self._receptions = receptions
        self._settings = {
            "bootstrap.servers": bootstrap_servers,
            "client.id": "hookline-connect-arrivals",
            **(properties or {}),
            # Needed by the client and never used: nothing is committed.
            "group.id": "hookline-connect-arrivals",
            "group.protocol": "classic",
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "allow.auto.create.topics": False,
            "fetch.queue.backoff.ms": 50,
            "queued.max.messages.kbytes": 8_192,
        }
        self._lock = threading.Lock()
        self._waiting: dict[bytes, list[_Waiting]] = {}
        #: From when on those want to see who have come since the thread last looked.
        self._joined_ms: int | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    async def wait(
        self,
        tenant: str,
        connection: str,
        since_us: int,
        until_s: float,
        refused_since_us: int | None = None,
    ) -> Arrival | Mismatch | None:
        """The first event of the connection since then (Unix µs), or the first refusal after
        `refused_since_us`, if that is wanted; None if none came within `until_s` seconds."""
        loop = asyncio.get_running_loop()
        since_ms = since_us // 1000 - _MARGIN_MS
        one = _Waiting(since_ms, refused_since_us, loop, loop.create_future())
        prefix = f"{tenant}/{connection}".encode()
        with self._lock:
            if self._stopping or sum(map(len, self._waiting.values())) >= MAX_WAITING:
                return None
            self._waiting.setdefault(prefix, []).append(one)
            self._joined_ms = min(since_ms, self._joined_ms or since_ms)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="hookline-arrivals", daemon=True
                )
                self._thread.start()
        try:
            async with asyncio.timeout(max(0.0, until_s)):
                return await one.found
        except TimeoutError:
            return None
        finally:
            with self._lock:
                left = [w for w in self._waiting.get(prefix, []) if w is not one]
                if left:
                    self._waiting[prefix] = left
                else:
                    self._waiting.pop(prefix, None)

    @property
    def active(self) -> bool:
        """Whether the consumer runs."""
        return self._thread is not None

    def close(self) -> None:
        """Nobody waits any more; the thread ends by itself."""
        self._stopping = True

    def _run(self) -> None:
        while True:
            try:
                if self._follow():
                    return
            # The thread's top: those who wait go on waiting, within their time.
            except Exception:
                log.exception("the events topic cannot be watched; trying again")
                time.sleep(_AGAIN_S)

    def _follow(self) -> bool:
        """Until nobody waits; True then, and this thread is nobody's any more."""
        consumer = Consumer(self._settings, logger=logging.getLogger("hookline.kafka"))
        try:
            at: dict[tuple[str, int], int] = {}
            began = False
            while True:
                with self._lock:
                    if self._stopping or not self._waiting:
                        self._thread = None
                        return True
                    since_ms, self._joined_ms = self._joined_ms, None
                    if not began:
                        since_ms = min(w.since_ms for ws in self._waiting.values() for w in ws)
                if since_ms is not None:
                    began = self._begin(consumer, since_ms, at)
                    if not began:
                        time.sleep(_POLL_S)
                        continue
                for message in consumer.consume(_BATCH, _POLL_S):
                    error = message.error()
                    if error is None:
                        place = (message.topic() or "", message.partition() or 0)
                        at[place] = (message.offset() or 0) + 1
                    if error is None and message.topic() == self._topic:
                        self._look(message)
                    elif error is None:
                        self._look_for_refusals(message)
                    elif error.code() == KafkaError._ALL_BROKERS_DOWN or error.fatal():
                        log.warning("events cannot be watched", extra={"data": {"why": str(error)}})
        finally:
            consumer.close()

    def _begin(self, consumer: Consumer, since_ms: int, at: dict[tuple[str, int], int]) -> bool:
        """Read from the first event since then, or on from where it is (`at`: the next offset of
        each partition) if that is before; what was read may come again."""
        offsets = self._offsets(consumer, self._topic, since_ms)
        if not offsets:
            return False
        if self._receptions:
            offsets += self._offsets(consumer, self._receptions, since_ms)
        for one in offsets:
            place = (one.topic, one.partition)
            if one.offset >= 0:
                one.offset = at[place] = min(one.offset, at.get(place, one.offset))
        consumer.assign(offsets)
        return True

    def _offsets(self, consumer: Consumer, topic: str, since_ms: int) -> list[TopicPartition]:
        """Of each partition, the first record since then; nothing if there is no such topic."""
        found = consumer.list_topics(topic, _TIMEOUT_S).topics.get(topic)
        if found is None or found.error is not None:
            return []
        # Where the end is, asked first: what comes between the two questions is seen, too.
        ends = {
            number: consumer.get_watermark_offsets(
                TopicPartition(topic, number), timeout=_TIMEOUT_S
            )
            for number in found.partitions
        }
        asked = [TopicPartition(topic, number, since_ms) for number in found.partitions]
        offsets: list[TopicPartition] = consumer.offsets_for_times(asked, _TIMEOUT_S)
        for one in offsets:
            if one.offset < 0:
                # Nothing since then; the demo's embedded broker, which knows no times, says so
                # always. Each record's own time decides.
                end = ends[one.partition]
                one.offset = max(end[0], end[1] - _LOOK_BACK) if end is not None else OFFSET_END
        return offsets

    def _look_for_refusals(self, message: Any) -> None:
        value = message.value() or b""
        # Most batches hold none: not taken apart.
        if _WRONG.encode() not in value or not self._wants_refusals():
            return
        try:
            rows = decode_rows(value)
        except CodecError:
            return
        for row in rows:
            if not isinstance(row, Reception) or row.outcome != _WRONG:
                continue
            prefix = f"{row.tenant}/{row.connection}".encode()
            with self._lock:
                counted = [
                    one
                    for one in self._waiting.get(prefix, ())
                    if one.refused_since_us is not None
                    and row.received_at_us > one.refused_since_us
                ]
            for one in counted:
                found = Mismatch(row.received_at_us)
                one.loop.call_soon_threadsafe(_settle, one.found, found)

    def _wants_refusals(self) -> bool:
        with self._lock:
            return any(
                one.refused_since_us is not None for ones in self._waiting.values() for one in ones
            )

    def _look(self, message: Any) -> None:
        key = message.key() or b""
        prefix = b"/".join(key.split(b"/", 2)[:2])
        with self._lock:
            waiting = self._waiting.get(prefix)
            if not waiting:
                return
            at_ms = message.timestamp()[1]
            counted = [w for w in waiting if at_ms >= w.since_ms]
        found = Arrival(
            _request_id(message.headers() or ()),
            f"{message.topic()}/{message.partition()}/{message.offset()}",
        )
        for one in counted:
            one.loop.call_soon_threadsafe(_settle, one.found, found)


def _settle(future: asyncio.Future[Arrival | Mismatch], found: Arrival | Mismatch) -> None:
    if not future.done():
        future.set_result(found)


def _request_id(headers: Any) -> str:
    for name, value in headers:
        if name == HEADER_REQUEST_ID and value:
            try:
                return str(value.decode("ascii")) if len(value) == 32 else str(value.hex())
            except UnicodeDecodeError:
                return str(value.hex())
    return ""
