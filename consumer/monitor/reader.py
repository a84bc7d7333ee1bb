"""The thread that reads the execution log into the store.

Rule: a message is counted in the transaction that moves the log's offset past it, and the store's
offsets say where to begin. So whatever goes wrong, the answer is to read again from there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from consumer.engine.group_member import KafkaErrors, new_client, serve_by_first_accepted
from consumer.monitor.contract import MonitorStore, Span
from consumer.monitor.follower import Follower
from consumer.monitor.monitor_metrics import MonitorMetrics
from schemas.errors import CodecError, Fenced, StoreError
from schemas.execution import Execution, Reception
from schemas.execution_batch import decode_rows

log = logging.getLogger("hookline.monitor")

#: Rows of one transaction, and how long they are gathered.
BATCH_ROWS: Final = 20_000
GATHER_S: Final = 0.5
#: Of up to a few thousand rows each: this bounds what a batch may have too many.
_MESSAGES_A_POLL: Final = 8
_POLL_S: Final = 0.5
_AGAIN_S: Final = 1.0
_COMMIT_EVERY_S: Final = 2.0
_SAY_EVERY_S: Final = 60.0

_Rows = list[Execution | Reception]


class LogReader:
    """Runs on a thread of its own from `start` to `stop`."""

    def __init__(
        self,
        *,
        topic: str,
        protocols: Sequence[dict[str, Any]],
        store: MonitorStore,
        followers: Sequence[Follower] = (),
        stall_after_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`protocols`: librdkafka's properties, for each group protocol in order of preference."""
        self._topic = topic
        self._protocols = protocols
        self._store = store
        self._followers = tuple(followers)
        self._stall_after_s = stall_after_s
        self._clock = clock
        self._stopping = threading.Event()
        #: What the store has counted of each assigned partition; None: nothing yet.
        self._counted: dict[int, int | None] = {}
        #: What is read and not yet written: rows, and up to where each partition is read.
        self._rows: _Rows = []
        self._read_to: dict[int, int] = {}
        #: Partitions that are to be read again from what is counted; until then, not at all.
        self._again: set[int] = set()
        self._gathering_since_s: float | None = None
        self._committed_s = 0.0
        self._said: dict[str, float] = {}
        self._errors = KafkaErrors(topic, log, clock)
        self._turned_s = clock()
        self._trouble = "not connected yet"
        self._metrics = MonitorMetrics(lambda: self.lag)
        #: How many messages of each assigned partition are not counted, as far as Kafka has told.
        self.lag: dict[int, int] = {}
        #: Set when the thread has ended by an error; `stop` does not set it.
        self.failed = threading.Event()
        # Made here, so that a wrong property is told at start and not by a thread.
        self._consumer = new_client(protocols[0])
        self._thread = threading.Thread(target=self._run, name="execution-log", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self, wait_s: float = 20.0) -> bool:
        """Write what is read, leave the group and end; whether that was in time."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(wait_s)
        return not self._thread.is_alive()

    def live(self) -> tuple[bool, str]:
        """Whether the thread still turns."""
        if self.failed.is_set():
            return False, "reading the execution log has ended by an error; see the log"
        idle_s = self._clock() - self._turned_s
        if idle_s > self._stall_after_s:
            return False, f"the execution log has not been read for {idle_s:.0f} s"
        return True, ""

    def ready(self) -> tuple[bool, str]:
        """Whether rows get into the store."""
        live, reason = self.live()
        return (False, reason) if not live else (not self._trouble, self._trouble)

    def _run(self) -> None:
        try:
            serve_by_first_accepted(self._protocols, self._consumer, self._serve, log)
        # The thread's top: the process ends, and whoever runs it starts it again.
        except Exception:
            log.exception("reading the execution log has ended")
            self.failed.set()

    def _serve(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._consumer.subscribe(
            [self._topic],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )
        try:
            while not self._stopping.is_set():
                self._turn()
        finally:
            # Leaving calls on_revoke, which writes what is read.
            self._consumer.close()

    def _turn(self) -> None:
        self._turned_s = self._clock()
        self._begin_again()
        # consume(n, timeout) waits its whole timeout unless n messages come; poll does not.
        first = self._consumer.poll(self._patience_s())
        if first is not None:
            self._take([first, *self._consumer.consume(_MESSAGES_A_POLL - 1, 0)])
        if self._is_due():
            self._write()
        self._tell_kafka()

    def _patience_s(self) -> float:
        if self._gathering_since_s is None:
            return _POLL_S
        return max(0.0, self._gathering_since_s + GATHER_S - self._clock())

    def _is_due(self) -> bool:
        since_s = self._gathering_since_s
        return since_s is not None and (
            len(self._rows) >= BATCH_ROWS or self._clock() - since_s >= GATHER_S
        )

    def _take(self, messages: Iterable[Any]) -> None:
        for message in messages:
            if (error := message.error()) is not None:
                self._errors.note(error)
                continue
            partition, offset = message.partition(), message.offset()
            # What librdkafka had fetched before a hand-over may still come.
            if partition not in self._counted or partition in self._again:
                continue
            if offset < self._position(partition):
                continue
            try:
                self._rows += decode_rows(message.value() or b"")
            except CodecError as unreadable:
                self._skip(partition, offset, unreadable)
            self._read_to[partition] = offset + 1
            if self._gathering_since_s is None:
                self._gathering_since_s = self._clock()

    def _position(self, partition: int) -> int:
        read_to = self._read_to.get(partition)
        return (self._counted[partition] or 0) if read_to is None else read_to

    def _skip(self, partition: int, offset: int, error: CodecError) -> None:
        self._metrics.skipped(error.reason)
        if self._may_say("skipped " + error.reason, float("inf")):
            log.error(
                "a message of the execution log cannot be read and is skipped; more of them are "
                "only counted",
                extra={
                    "data": {
                        "at": f"{self._topic}[{partition}]@{offset}",
                        "reason": error.reason,
                        "advice": "is hookline monitor older than what writes the log?",
                    }
                },
            )

    def _write(self) -> bool:
        """Write what is read; whether it is in the store. Otherwise it will be read again."""
        rows, read_to = self._rows, self._read_to
        self._rows, self._read_to, self._gathering_since_s = [], {}, None
        if not read_to:
            return True
        spans = {p: Span(self._counted[p], following) for p, following in read_to.items()}
        began_s = self._clock()
        try:
            self._store.append(rows, self._topic, spans)
        except Fenced as error:
            # Another monitor has counted these messages: it has, or has had, the partition.
            self._metrics.fenced()
            log.info("messages are counted already", extra={"data": {"detail": str(error)}})
            self._again.update(self._counted)
            return False
        except StoreError as error:
            self._in_trouble("the store does not take rows; they stay in Kafka", error)
            self._again.update(self._counted)
            return False
        # A crash here: they are counted, and the followers never get them.
        self._counted.update(read_to)
        self._trouble = ""
        self._metrics.appended(rows, self._clock() - began_s)
        for follower in self._followers:
            self._give(follower, rows)
        return True

    def _give(self, follower: Follower, rows: _Rows) -> None:
        try:
            follower.follow(rows)
        # A follower's top: it costs nobody else his rows.
        except Exception:
            self._metrics.follower_failed(follower.name)
            if self._may_say("follower " + follower.name, _SAY_EVERY_S):
                log.exception("a follower failed", extra={"data": {"follower": follower.name}})

    def _begin_again(self) -> None:
        """Read partitions again from where the store has counted up to; not from a callback."""
        if not self._again or self._stopping.wait(_AGAIN_S):
            return
        mine = sorted(self._again & set(self._counted))
        self._consumer.incremental_unassign([TopicPartition(self._topic, p) for p in mine])
        self._assign(self._consumer, mine)
        self._again.clear()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assign(consumer, [place.partition for place in partitions])

    def _assign(self, consumer: Consumer, partitions: Sequence[int]) -> None:
        counted = self._ask_offsets()
        for partition in partitions:
            self._counted[partition] = counted.get(partition)
        consumer.incremental_assign(
            [
                TopicPartition(self._topic, partition, counted.get(partition, OFFSET_BEGINNING))
                for partition in partitions
            ]
        )
        log.info(
            "partitions assigned",
            extra={"data": {str(p): self._counted[p] for p in sorted(self._counted)}},
        )

    def _ask_offsets(self) -> dict[int, int]:
        while True:
            try:
                counted = self._store.offsets(self._topic)
            except StoreError as error:
                # Waiting is right: should it take longer than max.poll.interval.ms, another
                # monitor with a working store gets the partitions.
                self._in_trouble("the store does not say where to begin", error)
                self._turned_s = self._clock()
                if self._stopping.wait(_AGAIN_S):
                    return {}
            else:
                self._trouble = ""
                return counted

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # If it fails, their new owner reads the same messages.
        if self._write():
            self._tell_kafka(wait=True)
        self._let_go(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Somebody else may have counted these already: then the store would refuse the batch.
        self._rows, self._read_to, self._gathering_since_s = [], {}, None
        self._again.update(self._counted)
        self._let_go(consumer, partitions)

    def _let_go(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for place in partitions:
            self._counted.pop(place.partition, None)
            self._again.discard(place.partition)
            self.lag.pop(place.partition, None)
        consumer.incremental_unassign(partitions)

    def _tell_kafka(self, *, wait: bool = False) -> None:
        """Let Kafka's committed offsets follow the store, for lag tools; and read the lag."""
        now_s = self._clock()
        if not wait and now_s - self._committed_s < _COMMIT_EVERY_S:
            return
        self._committed_s = now_s
        lag: dict[int, int] = {}
        offsets = []
        for partition, counted in self._counted.items():
            place = TopicPartition(self._topic, partition)
            if counted is not None:
                offsets.append(TopicPartition(self._topic, partition, counted))
            # From librdkafka's memory, as fetches have told it.
            ends = self._consumer.get_watermark_offsets(place, cached=True)
            if ends is not None and ends[1] >= 0:
                lag[partition] = max(0, ends[1] - (counted or ends[0]))
                if counted is not None and counted > ends[1]:
                    self._look_at_end(place, counted)
        self.lag = lag
        if offsets:
            try:
                if wait:
                    self._consumer.commit(offsets=offsets, asynchronous=False)
                else:
                    self._consumer.commit(offsets=offsets, asynchronous=True)
            except KafkaException as error:
                # The store is the authority; these only inform, and the next commit repairs.
                log.info("offsets not committed", extra={"data": {"detail": error.args[0].str()}})

    def _look_at_end(self, place: TopicPartition, counted: int) -> None:
        """More is counted than there is: was the topic made anew? Then it is counted from its
        beginning; the memory that said so may be old, so Kafka itself is asked."""
        with suppress(KafkaException):
            low, high = self._consumer.get_watermark_offsets(place, timeout=5.0)
            if 0 <= high < counted and place.partition not in self._read_to:
                log.warning(
                    "the log ends before what is counted of it: it was made anew, and is counted "
                    "from its beginning",
                    extra={"data": {"at": str(place.partition), "counted": counted, "end": high}},
                )
                self._read_to[place.partition] = low
                self._gathering_since_s = self._clock()
                self._write()
                self._again.add(place.partition)

    def _in_trouble(self, what: str, error: StoreError) -> None:
        self._trouble = f"{what}: {error}"
        self._metrics.store_failed()
        if self._may_say(what, _SAY_EVERY_S):
            log.error(what, extra={"data": {"detail": str(error)}})

    def _may_say(self, what: str, every_s: float) -> bool:
        now_s = self._clock()
        if now_s - self._said.get(what, -float("inf")) < every_s:
            return False
        self._said[what] = now_s
        return True
