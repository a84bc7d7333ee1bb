"""A gateway of several processes: what senders, probes and scrapers see, and what a kill costs."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from producer.publish.spool_file import SpoolFile
from tests.gateway.http_socket import Closed, get
from tests.gateway.running import CANARIES, Gateway, github_body, github_headers
from tests.parts.kafka import KafkaBroker
from tests.parts.mock_cluster import MockCluster
from tests.parts.process import free_port


class Workers(Gateway):
    """Two workers, each with a spool beside the other's."""

    def __init__(self, bootstrap_servers: str, folder: Path, workers: int = 2) -> None:
        self.admin_port = free_port()
        self.spool = folder / "spool" / "spool.db"
        super().__init__(
            bootstrap_servers,
            folder,
            {
                "gateway": {"workers": workers, "admin_listen": f"127.0.0.1:{self.admin_port}"},
                "spool": {"path": str(self.spool)},
                "publish": {"ack_deadline_ms": 400, "linger_ms": 0},
            },
        )
        self.workers = workers

    def ready(self) -> int:
        """200 when all are."""
        try:
            health = get(self.admin_port, "/readyz")
        except (OSError, Closed):
            return 0
        return health.status if health.json()["reason"] == "" else 503

    def pid(self, worker: int) -> int:
        """Of the process that has this place now."""
        started = [one for one in self.lines("worker started") if one["worker"] == worker]
        return int(started[-1]["pid"])

    def counted(self, name: str, worker: int | None = None, **labels: str) -> float:
        """The sum of a metric over the workers, or one worker's."""
        if worker is not None:
            labels["worker"] = str(worker)
        text = get(self.admin_port, "/metrics").body.decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def post_one(self) -> str | None:
        """The request id of a webhook that was answered 200; None if nobody took the request."""
        body = github_body()
        try:
            answer = self.post("acme-github", github_headers(body), body)
        except (Closed, OSError):
            return None
        assert answer.status == 200, answer
        return answer.headers["x-request-id"]

    def in_kafka(self) -> list[str]:
        """The request ids of all that the events topic holds."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": "test",
                "enable.partition.eof": True,
            }
        )
        found: list[str] = []
        try:
            there = consumer.list_topics(self.events_topic, timeout=10).topics[self.events_topic]
            consumer.assign([TopicPartition(self.events_topic, n, 0) for n in there.partitions])
            ends = 0
            while ends < len(there.partitions):
                message = consumer.poll(10)
                assert message is not None
                if message.error():
                    ends += 1
                else:
                    found.append(dict(message.headers())["hookline-request-id"].decode())
        finally:
            consumer.close()
        return found


class Senders:
    """So many threads that post on new connections until they are stopped."""

    def __init__(self, gateway: Workers, count: int = 4) -> None:
        self.answered: list[str] = []
        self.problems: list[BaseException] = []
        self._gateway = gateway
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(count)]

    def __enter__(self) -> Senders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        while not self._stop.is_set():
            try:
                request_id = self._gateway.post_one()
            except AssertionError as problem:
                self.problems.append(problem)
                return
            if request_id is not None:
                self.answered.append(request_id)
            else:
                # Nobody listens: as a sender would, not at once again.
                self._stop.wait(0.02)


def until(condition: Callable[[], object], timeout_s: float = 15) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    """One that the test may break."""
    with MockCluster() as running:
        yield running


@pytest.fixture
def gateway(cluster: MockCluster, tmp_path: Path) -> Iterator[Workers]:
    with Workers(cluster.bootstrap_servers, tmp_path) as running:
        yield running
        log = running.log()
    assert "Traceback" not in log
    for canary in CANARIES:
        assert canary not in log


def test_both_take_requests_and_their_metrics_add_up(gateway: Workers) -> None:
    posted = 0
    while posted < 8 or not all(
        gateway.counted("hookline_webhooks_total", worker, outcome="accepted") for worker in (1, 2)
    ):
        assert gateway.post_one()
        posted += 1
        assert posted < 500, "the kernel gives one of them nothing"
    assert gateway.counted("hookline_webhooks_total", outcome="accepted") == posted
    assert gateway.counted("hookline_webhook_duration_seconds_count") == posted
    assert gateway.counted("hookline_gateway_worker_up") == 2
    assert gateway.counted("hookline_gateway_worker_restarts_total") == 0
    text = get(gateway.admin_port, "/metrics").body.decode()
    heads = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))
    assert {line["worker"] for line in gateway.lines("accepted")} == {1, 2}
    # What one worker says of itself cannot be taken for the gateway's.
    samples = [line for line in get(gateway.port, "/metrics").body.decode().splitlines()
               if not line.startswith("#")]  # fmt: skip
    assert len({line.partition('worker="')[2][:1] for line in samples}) == 1
    assert all(line.partition("{")[2].startswith('worker="') for line in samples)


def test_health_is_of_all_of_them(gateway: Workers) -> None:
    assert get(gateway.admin_port, "/livez").json() == {"status": "ok", "reason": ""}
    assert get(gateway.port, "/readyz").status == 200
    pid = gateway.pid(2)
    os.kill(pid, signal.SIGSTOP)
    try:
        health = get(gateway.admin_port, "/livez")
        assert health.status == 503
        assert "worker 2 did not answer" in health.json()["reason"]
        assert gateway.counted("hookline_gateway_worker_up", 1) == 1
        assert gateway.counted("hookline_gateway_worker_up", 2) == 0
    finally:
        os.kill(pid, signal.SIGCONT)
    # Answers that came too late are not taken for those to later questions.
    until(lambda: get(gateway.admin_port, "/livez").status == 200)
    assert gateway.counted("hookline_gateway_worker_up") == 2
    assert gateway.ready() == 200


def test_each_has_a_spool_of_its_own_and_a_killed_one_is_drained_by_its_successor(
    gateway: Workers, cluster: MockCluster
) -> None:
    until(lambda: gateway.counted("hookline_spool_circuit_open") == 0)
    cluster.down()
    answered = []
    while len(answered) < 8 or not gateway.counted("hookline_spool_events", 1):
        answered.append(gateway.post_one())
    held = gateway.counted("hookline_spool_events", 1)
    pid = gateway.pid(1)
    os.kill(pid, signal.SIGKILL)
    until(lambda: gateway.pid(1) != pid)
    (ended,) = gateway.lines(
        "a worker has ended and will be started again: it drains the spool that is left"
    )
    assert (ended["worker"], ended["how"]) == (1, "ended with SIGKILL")
    cluster.up()
    until(lambda: gateway.ready() == 200, 30)
    until(lambda: gateway.counted("hookline_spool_events") == 0)
    assert gateway.counted("hookline_spool_drained_total", 1) == held
    assert gateway.counted("hookline_gateway_worker_restarts_total", 1) == 1
    assert set(answered) <= set(gateway.in_kafka())
    names = {path.name for path in gateway.spool.parent.iterdir()}
    assert {"spool.db.worker-1", "spool.db.worker-2"} <= names
    assert "spool.db" not in names
    assert "spool.db.worker-1.connections" in names


@pytest.mark.kafka
def test_a_kill_under_load_loses_nothing_that_was_answered(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    gateway = Workers(kafka.bootstrap_servers, tmp_path)
    for topic in (gateway.events_topic, gateway.quarantine_topic):
        kafka.create_topic(topic)
    kafka.create_topic(gateway.connections_topic, 1, cleanup_policy="compact")
    with gateway:
        with Senders(gateway) as senders:
            until(lambda: len(senders.answered) > 100, 30)
            pid = gateway.pid(1)
            os.kill(pid, signal.SIGKILL)
            before = len(senders.answered)
            # The other goes on alone.
            until(lambda: len(senders.answered) > before + 100, 30)
            until(lambda: gateway.counted("hookline_gateway_worker_restarts_total", 1) == 1)
            until(lambda: gateway.ready() == 200, 30)
            until(lambda: gateway.counted("hookline_webhooks_total", 1, outcome="accepted") > 10)
        assert not senders.problems
        until(lambda: gateway.counted("hookline_spool_events") == 0)
        log = gateway.in_kafka()
    assert set(senders.answered) <= set(log)


def test_a_stop_under_load_answers_all_that_it_took_and_ends_with_0(gateway: Workers) -> None:
    with Senders(gateway) as senders:
        until(lambda: len(senders.answered) > 50)
        code = gateway.process.stop()
    assert code == 0
    assert not senders.problems
    assert {one.get("worker") for one in gateway.lines("gateway stopped")} == {1, 2}
    assert all(one["clean"] for one in gateway.lines("gateway stopped"))
    held = 0
    for worker in (1, 2):
        file = SpoolFile(Path(f"{gateway.spool}.worker-{worker}"))
        held += file.totals().events
        file.close()
    assert held == 0
    assert set(senders.answered) <= set(gateway.in_kafka())


def test_they_do_not_outlive_their_supervisor(gateway: Workers) -> None:
    pids = [gateway.pid(1), gateway.pid(2)]
    gateway.process.kill()
    until(lambda: all(map(gone, pids)))
    assert all(one["clean"] for one in gateway.lines("gateway stopped"))


def test_a_port_that_somebody_listens_on_is_refused(cluster: MockCluster, tmp_path: Path) -> None:
    gateway = Workers(cluster.bootstrap_servers, tmp_path)
    with socket.socket() as other:
        # Also somebody who would share it.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", gateway.port))
        other.listen()
        gateway.start()
        until(lambda: not gateway.process.running)
    assert gateway.process.stop() == 2
    assert "gateway.listen: 127.0.0.1" in gateway.log()
    assert "choose another port or stop what uses it" in gateway.log()
    assert '"worker started"' not in gateway.log()


def test_a_gateway_of_one_process_does_not_share_a_port(
    gateway: Workers, cluster: MockCluster, tmp_path: Path
) -> None:
    listen = {"gateway": {"listen": f"127.0.0.1:{gateway.port}"}}
    alone = Gateway(cluster.bootstrap_servers, tmp_path, listen).start()
    until(lambda: not alone.process.running)
    assert alone.process.stop() == 2
    assert "cannot be listened on" in alone.log()


def test_what_does_not_let_a_worker_start_ends_the_gateway_and_is_said(
    cluster: MockCluster, tmp_path: Path
) -> None:
    gateway = Workers(cluster.bootstrap_servers, tmp_path)
    Path(f"{gateway.spool}.worker-2").mkdir(parents=True)
    gateway.start()
    until(lambda: not gateway.process.running)
    assert gateway.process.stop() == 2
    assert "worker 2: spool.path: cannot open" in gateway.log()
    assert gateway.log().count('"worker started"') == 2
    assert "Traceback" not in gateway.log()
