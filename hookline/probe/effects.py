"""Whether a probe was applied: by the execution log itself, or by the monitor's store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition

from consumer.monitor.contract import Questions
from consumer.monitor.log_search import open_reader
from schemas.errors import CodecError, StoreError, TopicError
from schemas.execution import Execution
from schemas.execution_batch import decode_rows

_TIMEOUT_S: Final = 10.0
_ASK_EVERY_S: Final = 0.25


class Effects(Protocol):
    """Where the effect of a probe is seen."""

    def prepare(self) -> None:
        """Before it is sent; TopicError or StoreError if nothing can be seen there."""

    def wait(self, request_id: bytes, within_s: float) -> Execution | None:
        """The execution in the group, or None if there was none in time."""

    def close(self) -> None:
        """Release everything."""


class LogEffects:
    """Reads the execution log from where it ends when a probe is sent."""

    def __init__(
        self, bootstrap_servers: str, topic: str, group: str, properties: Mapping[str, Any]
    ) -> None:
        self._topic = topic
        self._group = group
        self._servers = bootstrap_servers
        self._consumer: Consumer = open_reader(bootstrap_servers, properties)

    def prepare(self) -> None:
        try:
            found = self._consumer.list_topics(timeout=_TIMEOUT_S).topics.get(self._topic)
            if found is None or found.error is not None:
                raise TopicError(f"topic {self._topic} is not there: run `hookline topics apply`")
            starts = []
            for number in found.partitions:
                place = TopicPartition(self._topic, number)
                _, end = self._consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)
                starts.append(TopicPartition(self._topic, number, end))
            self._consumer.assign(starts)
        except KafkaException as error:
            raise TopicError(
                f"no answer from Kafka at {self._servers} ({error.args[0].name()}): with "
                "probe.effect: none only the answer is checked"
            ) from None

    def wait(self, request_id: bytes, within_s: float) -> Execution | None:
        deadline_s = time.monotonic() + within_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            message = self._consumer.poll(min(left_s, 1.0))
            value = None if message is None or message.error() else message.value()
            if value is None or request_id not in value:
                continue
            try:
                rows = decode_rows(value)
            except CodecError:
                continue
            for row in rows:
                if (
                    isinstance(row, Execution)
                    and row.request_id == request_id
                    and row.group == self._group
                ):
                    return row
        return None

    def close(self) -> None:
        self._consumer.close()


class StoreEffects:
    """Asks the monitor's store, for a probe that does not reach Kafka."""

    def __init__(
        self,
        store: Questions,
        environment: str,
        group: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._environment = environment
        self._group = group
        self._sleep = sleep

    def prepare(self) -> None:
        self._store.request(self._environment, b"\0" * 16)

    def wait(self, request_id: bytes, within_s: float) -> Execution | None:
        deadline_s = time.monotonic() + within_s
        while True:
            try:
                story = self._store.request(self._environment, request_id)
            # It may be back before the time is up.
            except StoreError:
                story = None
            for row in story.executions if story is not None else ():
                if row.group == self._group:
                    return row
            if time.monotonic() >= deadline_s:
                return None
            self._sleep(_ASK_EVERY_S)

    def close(self) -> None:
        self._store.close()
