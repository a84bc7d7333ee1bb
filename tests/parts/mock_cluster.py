"""librdkafka's mock cluster: fast and in this process, for all that is not about durability.

Driven through ctypes on the wheel's own librdkafka, which can make it fail on demand.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError

_PRODUCER = 0
_BROKER = 1
#: Numbers of Kafka's protocol.
PRODUCE, INIT_PRODUCER_ID = 0, 22


@cache
def _librdkafka() -> Any:
    folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    library = ctypes.CDLL(str(next(folder.glob("librdkafka-*.so*"))))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    size, short = ctypes.c_size_t, ctypes.c_int16
    for name, result, arguments in (
        ("conf_new", pointer, []),
        ("conf_set", number, [pointer, text, text, text, size]),
        ("new", pointer, [number, pointer, text, size]),
        ("destroy", None, [pointer]),
        ("mock_cluster_new", pointer, [pointer, number]),
        ("mock_cluster_destroy", None, [pointer]),
        ("mock_cluster_bootstraps", text, [pointer]),
        ("mock_topic_create", number, [pointer, text, number, number]),
        ("mock_topic_set_error", None, [pointer, text, number]),
        ("mock_partition_set_leader", number, [pointer, text, ctypes.c_int32, ctypes.c_int32]),
        ("mock_broker_set_down", number, [pointer, ctypes.c_int32]),
        ("mock_broker_set_up", number, [pointer, ctypes.c_int32]),
        ("mock_broker_set_rtt", number, [pointer, ctypes.c_int32, number]),
        ("mock_push_request_errors_array", None, [pointer, short, size, pointer]),
        ("mock_clear_request_errors", None, [pointer, short]),
        ("mock_start_request_tracking", None, [pointer]),
        ("mock_stop_request_tracking", None, [pointer]),
        ("mock_get_requests", ctypes.POINTER(pointer), [pointer, ctypes.POINTER(size)]),
        ("mock_request_api_key", short, [pointer]),
        ("mock_request_destroy_array", None, [pointer, size]),
    ):
        function = getattr(library, f"rd_kafka_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class MockCluster:
    """One broker that makes topics as they are asked for, with four partitions each."""

    def __init__(self) -> None:
        self._rdkafka = _librdkafka()
        problem = ctypes.create_string_buffer(256)
        settings = self._rdkafka.rd_kafka_conf_new()
        self._rdkafka.rd_kafka_conf_set(settings, b"log_level", b"0", problem, 256)
        self._client = self._rdkafka.rd_kafka_new(_PRODUCER, settings, problem, 256)
        assert self._client, problem.value
        self._cluster = self._rdkafka.rd_kafka_mock_cluster_new(self._client, 1)
        self.bootstrap_servers: str = self._rdkafka.rd_kafka_mock_cluster_bootstraps(
            self._cluster
        ).decode()

    def __enter__(self) -> MockCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._rdkafka.rd_kafka_mock_cluster_destroy(self._cluster)
        self._rdkafka.rd_kafka_destroy(self._client)

    def create_topic(self, name: str, partitions: int = 4) -> str:
        """Make a topic; its name."""
        self._done("topic_create", name.encode(), partitions, 1)
        return name

    def set_topic_error(self, name: str, code: int = KafkaError.NO_ERROR) -> None:
        """Let metadata say this of the topic from here on."""
        self._rdkafka.rd_kafka_mock_topic_set_error(self._cluster, name.encode(), code)

    def set_leader(self, topic: str, partition: int, broker: int = _BROKER) -> None:
        """-1 takes the partition's leader away."""
        self._done("partition_set_leader", topic.encode(), partition, broker)

    def down(self) -> None:
        """Break off all connections and take no new ones."""
        self._done("broker_set_down", _BROKER)

    def up(self) -> None:
        """Take connections again; what it held is still there."""
        self._done("broker_set_up", _BROKER)

    def set_delay_ms(self, delay_ms: int) -> None:
        """Answer every request so much later."""
        self._done("broker_set_rtt", _BROKER, delay_ms)

    def fail_next(self, request: int, codes: Sequence[int]) -> None:
        """Answer the next requests of this kind with these errors, one each."""
        array = (ctypes.c_int * len(codes))(*codes)
        self._rdkafka.rd_kafka_mock_push_request_errors_array(
            self._cluster, request, len(codes), array
        )

    def fail_no_more(self, request: int) -> None:
        """Forget the errors that are left."""
        self._rdkafka.rd_kafka_mock_clear_request_errors(self._cluster, request)

    def watch_requests(self) -> None:
        """Begin to count requests for `requests`."""
        self._rdkafka.rd_kafka_mock_start_request_tracking(self._cluster)

    def requests(self) -> Counter[int]:
        """How many requests of each kind have come since `watch_requests`; ends the watch."""
        count = ctypes.c_size_t()
        found = self._rdkafka.rd_kafka_mock_get_requests(self._cluster, ctypes.byref(count))
        kinds = Counter(
            self._rdkafka.rd_kafka_mock_request_api_key(found[at]) for at in range(count.value)
        )
        self._rdkafka.rd_kafka_mock_request_destroy_array(found, count)
        self._rdkafka.rd_kafka_mock_stop_request_tracking(self._cluster)
        return kinds

    def _done(self, call: str, *arguments: object) -> None:
        code = getattr(self._rdkafka, f"rd_kafka_mock_{call}")(self._cluster, *arguments)
        if code:
            raise RuntimeError(f"{call}{arguments}: {KafkaError(code).str()}")
