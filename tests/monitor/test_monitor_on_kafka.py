"""The monitor's process on real Kafka: killed as it reads, it counts each message exactly once."""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.monitor.contract import Counts, EventFilter, Questions, Range, Scope
from consumer.monitor.lag import LAG_EVENTS, LAG_SECONDS, EndHistory, LagSampler
from schemas.errors import StoreError
from schemas.execution import Execution, Reception
from schemas.execution_batch import EXECUTIONS, RECEPTIONS, executions_of, receptions_of
from tests.monitor import made_up, plain
from tests.monitor.conftest import Place, PostgresPlace, SqlitePlace
from tests.monitor.plain import NOW_US, Row
from tests.parts.kafka import KafkaBroker
from tests.parts.process import Process, free_port

pytestmark = pytest.mark.kafka

_SCOPE = Scope(environment="production")
_RANGE = Range(NOW_US - 3600_000_000, NOW_US + 60_000_000)


def _messages(rows: int) -> Iterator[tuple[list[Row], bytes]]:
    """Messages as consumers and gateways write them, each with its rows."""
    made = made_up.rows(rows // 2, until_us=NOW_US, days=0.02)
    while some := list(islice(made, 100)):
        # A batch has one commit.
        events: list[Row] = [
            row for row in some if isinstance(row, Execution) and row.partition % 3 == 0
        ]
        requests: list[Row] = [
            row for row in some if isinstance(row, Reception) and row.partition % 2 == 0
        ]
        if events:
            batch = executions_of(events)  # type: ignore[arg-type]
            yield list(batch.rows()), EXECUTIONS.encode(batch)
        if requests:
            told = receptions_of(requests)  # type: ignore[arg-type]
            yield list(told.rows()), RECEPTIONS.encode(told)


class Log:
    """An execution log, and what is in it."""

    def __init__(self, kafka: KafkaBroker) -> None:
        self.kafka = kafka
        self.topic = kafka.create_topic(f"executions-{uuid4().hex[:8]}", 4)
        self.rows: list[Row] = []
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 1})

    def write(self, messages: Iterator[tuple[list[Row], bytes]], count: int) -> int:
        written = 0
        for rows, value in islice(messages, count):
            self._producer.produce(self.topic, value)
            self.rows += rows
            written += 1
        assert self._producer.flush(30) == 0
        return written

    def spoil(self, value: bytes) -> None:
        self._producer.produce(self.topic, value)
        assert self._producer.flush(30) == 0


class Monitor:
    """One `hookline monitor`."""

    def __init__(self, folder: Path, log: Log, store: str) -> None:
        self.port = free_port()
        folder.mkdir(exist_ok=True)
        self._config = folder / "hookline.yaml"
        self._config.write_text(
            json.dumps(
                {
                    "environment": "production",
                    "kafka": {"bootstrap_servers": log.kafka.bootstrap_servers},
                    "topics": {"executions": log.topic},
                    "monitor": {
                        "store": store,
                        "group": f"monitor-of-{log.topic}",
                        "listen": f"127.0.0.1:{self.port}",
                        "retention_days": 365,
                        "retention_sums_days": 3650,
                    },
                }
            )
        )
        self._folder = folder
        self.process: Process | None = None

    def start(self) -> Process:
        self.process = Process(
            [
                sys.executable,
                "-X",
                "faulthandler",
                "-m",
                "hookline.command",
                "monitor",
                "--config",
                str(self._config),
            ],
            self._folder / "monitor.log",
        )
        return self.process

    @property
    def log(self) -> str:
        return (self._folder / "monitor.log").read_text()

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text


def _url(place: Place) -> str:
    if isinstance(place, SqlitePlace):
        return f"sqlite:///{place.path}"
    assert isinstance(place, PostgresPlace)
    return place.url


def _await(what: Callable[[], bool], monitor: Monitor, timeout_s: float = 90.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not what():
        assert monitor.process is None or monitor.process.running, monitor.log
        assert time.monotonic() < deadline_s, monitor.log
        time.sleep(0.02)


class Looking:
    """What the store has counted, asked beside the monitor."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._questions: Questions | None = None

    def counts(self) -> Counts:
        if self._questions is None:
            try:
                self._questions = self._place.ask()
            except StoreError:
                return Counts()
        return self._questions.overview(_SCOPE, _RANGE, measures=(), last_week=False).total.counts

    def rows(self) -> int:
        counts = self.counts()
        return counts.requests + counts.events


def test_it_counts_each_message_once_however_often_it_is_killed(
    kafka: KafkaBroker, place: Place, tmp_path: Path
) -> None:
    log, looking = Log(kafka), Looking(place)
    monitor = Monitor(tmp_path / "one", log, _url(place))
    messages = _messages(400_000)
    stop = threading.Event()

    def write() -> None:
        while log.write(messages, 4) and not stop.wait(0.05):
            pass

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for _ in range(4):
            process, before = monitor.start(), looking.rows()
            # Somewhere between two commits, in one, or just after it: there is always more to read.
            _await(lambda before=before: looking.rows() > before, monitor)  # type: ignore[misc]
            process.kill()
    finally:
        stop.set()
        writing.join()
    log.write(messages, 10)
    process = monitor.start()
    _await(lambda: looking.rows() >= len(log.rows), monitor)
    assert process.stop() == 0, monitor.log
    assert looking.counts() == plain.counts(log.rows)
    # Not one row of the log twice, either.
    store = place.open()
    found = store.events(EventFilter(environment="production"), limit=500)
    seen = [row.event_id for row in found.rows]
    assert len(seen) == len(set(seen))


@pytest.mark.postgres
def test_two_monitors_share_the_log_and_one_takes_over(
    kafka: KafkaBroker, postgres: object, tmp_path: Path
) -> None:
    place = PostgresPlace(postgres)  # type: ignore[arg-type]
    try:
        log, looking = Log(kafka), Looking(place)
        both = [Monitor(tmp_path / name, log, place.url) for name in ("one", "two")]
        messages = _messages(12_000)
        processes = [monitor.start() for monitor in both]
        for monitor in both:
            _await(lambda m=monitor: "partitions assigned" in m.log, monitor)  # type: ignore[misc]
        log.write(messages, 40)
        _await(lambda: looking.rows() > 0, both[1])
        processes[0].kill()
        log.write(messages, 40)
        _await(lambda: looking.rows() >= len(log.rows), both[1])
        # The first comes back while the second reads.
        both[0].start()
        log.write(messages, 60)
        _await(lambda: looking.rows() >= len(log.rows), both[1])
        for monitor in both:
            assert monitor.process is not None
            monitor.process.stop()
        assert looking.counts() == plain.counts(log.rows)
    finally:
        place.close()


def test_what_cannot_be_read_is_skipped_counted_and_said_once(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    place = SqlitePlace(tmp_path)
    log, looking = Log(kafka), Looking(place)
    monitor = Monitor(tmp_path / "one", log, _url(place))
    messages = _messages(1_000)
    log.write(messages, 3)
    for value in (b"", b"nonsense", b"\xc3\x01" + bytes(40), _cut(_messages(300))):
        log.spoil(value)
        log.spoil(value)
    log.write(messages, 3)
    process = monitor.start()
    _await(lambda: looking.rows() >= len(log.rows), monitor)
    _await(lambda: "hookline_monitor_skipped_total" in monitor.get("/metrics"), monitor)
    skipped = [
        float(line.rsplit(" ", 1)[1])
        for line in monitor.get("/metrics").splitlines()
        if line.startswith("hookline_monitor_skipped_total{")
    ]
    assert sum(skipped) == 8
    assert json.loads(monitor.get("/readyz"))["status"] == "ok"
    assert json.loads(monitor.get("/livez"))["status"] == "ok"
    assert process.stop() == 0
    assert looking.counts() == plain.counts(log.rows)
    # Once for each reason, not for each message.
    assert monitor.log.count("cannot be read and is skipped") == len(skipped)
    place.close()


def _cut(messages: Iterator[tuple[list[Row], bytes]]) -> bytes:
    """A message that begins well and ends too soon."""
    _, value = next(messages)
    return value[: len(value) // 2]


def test_the_lag_of_a_group_is_sampled(kafka: KafkaBroker, tmp_path: Path) -> None:
    topic = kafka.create_topic(f"events-{uuid4().hex[:8]}", 2)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for number in range(30):
        producer.produce(topic, b"x", partition=number % 2)
    producer.flush(30)
    group = f"group-{topic}"
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, 15), TopicPartition(topic, 1, 5)],
                    asynchronous=False)  # fmt: skip
    consumer.close()
    place = SqlitePlace(tmp_path)
    store = place.open()
    now_s = [1000.0]
    sampler = LagSampler(
        {"bootstrap.servers": kafka.bootstrap_servers},
        [group, "a group that never was"],
        topic,
        "production",
        store,
        clock=lambda: now_s[0],
    )
    assert sampler.run() is False
    now_s[0] += 30.0
    sampler.run()
    events = {g.labels["partition"]: g.value for g in store.latest_gauges("production", LAG_EVENTS)}
    assert events == {"0": 0.0, "1": 10.0}
    waits = {g.labels["partition"]: g.value for g in store.latest_gauges("production", LAG_SECONDS)}
    assert waits["0"] == 0.0
    place.close()


def test_lag_in_seconds_is_how_long_ago_the_log_ended_where_the_group_is() -> None:
    history = EndHistory()
    for at_s, end in ((0, 10), (10, 10), (20, 30), (30, 60), (40, 60)):
        history.note(end, float(at_s))
    assert history.behind_s(60, 50.0) == 0.0
    assert history.behind_s(30, 50.0) == 30.0
    assert history.behind_s(10, 50.0) == 40.0
    # What is at 29 came after 10 s.
    assert history.behind_s(29, 50.0) == 40.0
    assert history.behind_s(3, 50.0) == 40.0
    # Made anew.
    history.note(2, 60.0)
    assert history.behind_s(2, 70.0) == 0.0
