"""With a sampling ratio of 0: what fails has its whole trace in a real Jaeger, all else none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.posting import CONNECTION, SECRET, post
from tests.end_to_end.running import Running, until
from tests.end_to_end.test_jaeger import links, named, parent, tag, trace_of
from tests.parts.jaeger import JaegerServer
from tests.parts.kafka import KafkaBroker
from tests.parts.process import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.jaeger]


@pytest.fixture(scope="module")
def running(
    kafka: KafkaBroker, jaeger: JaegerServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("tail")
    port = free_port()
    settings = {
        "topics": {"executions": kafka.create_topic(f"executions-{folder.name}-{port}", 2)},
        "telemetry": {"sample_ratio": 0.0},
        "monitor": {
            "store": f"sqlite:///{folder}/monitor.db",
            "group": f"monitor-{port}",
            "listen": f"127.0.0.1:{port}",
        },
        "consumer": {
            "handlers": "tests.end_to_end.failing_handlers:handlers",
            "retry": {"initial_ms": 50, "max_ms": 100, "budget_ms": 1_000},
        },
    }
    environ = {
        "ACME_SHOP_SECRET": SECRET,
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    with Running(
        kafka, folder, connections=[CONNECTION], environ=environ, settings=settings
    ) as started:
        started.start("monitor")
        started.wait_ready("monitor", port)
        yield started


def test_what_fails_has_its_whole_trace_and_what_works_has_none(
    running: Running, jaeger: JaegerServer
) -> None:
    fine = post(running.url).headers["x-request-id"]
    retried = post(running.url, "twice").headers["x-request-id"]
    dead = post(running.url, "wrong").headers["x-request-id"]
    topic = running.events_topic
    whole = ["POST /webhooks/{connection}", f"send {topic}", f"commit {topic}"]
    spans = trace_of(jaeger, retried, [*whole, *[f"process {topic}"] * 3])
    (server,), (send,) = named(spans, "POST"), named(spans, "send")
    assert server["spanID"] == retried[4:20]
    # What the log's traceparent had said all along.
    assert send["spanID"] == retried[16:]
    assert parent(send) == server["spanID"]
    tries = named(spans, "process")
    assert [tag(span, "hookline.attempt") for span in tries] == [1, 2, 3]
    assert [tag(span, "error.type") for span in tries] == ["ConnectionError"] * 2 + [None]
    for span in (*tries, *named(spans, "commit")):
        assert parent(span) == send["spanID"]
    before = [
        [link["spanID"] for link in links(span)] for span in (*tries, named(spans, "commit")[0])
    ]
    assert before == [[], *[[span["spanID"]] for span in tries]]
    ends = [span["startTime"] + span["duration"] for span in tries]
    assert [span["startTime"] for span in tries[1:]] >= ends[:-1]
    assert tag(server, "hookline.approximate") is None
    spans = trace_of(jaeger, dead, [*whole, f"process {topic}"])
    (commit,) = named(spans, "commit")
    assert tag(commit, "hookline.outcome") == "dead_lettered"
    # It was before the others, in the same partition of the log or not: it would be there.
    assert jaeger.spans(fine) == []


def test_a_parked_event_that_comes_back_goes_on_in_its_trace(
    running: Running, jaeger: JaegerServer
) -> None:
    request_id = post(running.url, "never").headers["x-request-id"]

    def parked() -> bool:
        spans = jaeger.spans(request_id)
        return any(tag(span, "hookline.outcome") == "parked" for span in spans)

    until(parked, 40)
    spans = jaeger.spans(request_id)
    assert len(named(spans, "POST")) == len(named(spans, "send")) == 1
    assert len(named(spans, "process")) >= 2
    assert {tag(span, "error.type") for span in named(spans, "process")} == {"ConnectionError"}
