"""P8: from the answer's X-Request-ID to the log lines, the Kafka headers and the trace."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition

from hookline.commands.samples import sample
from producer.providers.registry import build
from schemas import request_id as request_ids
from tests.end_to_end.running import Running, until
from tests.parts.kafka import KafkaBroker
from tests.telemetry.collector import OtlpCollector

pytestmark = pytest.mark.kafka

SECRET = "a-marked-secret-that-must-never-show"


@pytest.fixture(scope="module")
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as running:
        yield running


@pytest.fixture(scope="module")
def running(
    kafka: KafkaBroker, collector: OtlpCollector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    connection = {
        "id": "acme-github",
        "tenant": "acme",
        "provider": "github",
        "secrets": [{"name": "2026-11", "ref": "env:ACME_SECRET"}],
    }
    environ = {
        "ACME_SECRET": SECRET,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    folder: Path = tmp_path_factory.mktemp("running")
    with Running(kafka, folder, connections=[connection], environ=environ) as started:
        yield started


def post(running: Running, *, secret: str = SECRET, traceparent: str = "") -> httpx.Response:
    github = build("github", {})
    made = sample("github", random.Random(), time.time())
    assert made is not None
    headers = dict(
        github.sign(
            made.body,
            github.load_key(secret),
            event_id=made.event_id,
            event_type=made.event_type,
            now_s=time.time(),
        )
    )
    if traceparent:
        headers["traceparent"] = traceparent
    return httpx.post(f"{running.url}/webhooks/acme-github", content=made.body, headers=headers)


def lines_of(running: Running, request_id: str) -> dict[str, dict[str, object]]:
    found = {}
    for text in running.logs().splitlines():
        line = json.loads(text)
        if line.get("request_id") == request_id:
            found[line["msg"]] = line
    return found


def test_one_trace_holds_gateway_send_process_and_commit(
    running: Running, collector: OtlpCollector
) -> None:
    untrusted = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    answer = post(running, traceparent=untrusted)
    assert answer.status_code == 200
    request_id = answer.headers["x-request-id"]
    assert answer.json() == {"request_id": request_id}
    topic = running.events_topic
    names = {
        "POST /webhooks/{connection}",
        f"send {topic}",
        f"process {topic}",
        f"commit {topic}",
    }
    spans = {span.name: span for span in collector.wait_for(request_id, names=names)}
    assert set(spans) == names
    server, send = spans["POST /webhooks/{connection}"], spans[f"send {topic}"]
    process, commit = spans[f"process {topic}"], spans[f"commit {topic}"]
    assert not server.parent_span_id
    assert send.parent_span_id == server.span_id
    assert process.parent_span_id == send.span_id
    assert commit.parent_span_id == send.span_id
    # What a stranger sends is pointed at, and never continued.
    assert [link.trace_id for link in server.links] == ["ab" * 16]
    assert len(process.links) == 1


def test_the_logs_of_both_processes_and_kafkas_headers_have_the_id(running: Running) -> None:
    request_id = post(running).headers["x-request-id"]
    until(lambda: "applied" in lines_of(running, request_id))
    lines = lines_of(running, request_id)
    assert lines["accepted"]["event_id"] == lines["applied"]["event_id"]
    at = lines["accepted"]
    consumer = Consumer(
        {"bootstrap.servers": running.settings["kafka"]["bootstrap_servers"], "group.id": "x"}
    )
    consumer.assign([TopicPartition(running.events_topic, at["partition"], at["offset"])])  # type: ignore[arg-type]
    message = consumer.poll(20)
    assert message is not None
    headers = dict(message.headers() or [])
    consumer.close()
    assert headers["hookline-request-id"] == request_id.encode()
    assert headers["traceparent"].startswith(f"00-{request_id}-".encode())
    assert abs(request_ids.unix_ms(request_ids.parse(request_id)) - time.time() * 1000) < 60_000


def test_a_refused_request_has_an_id_that_its_log_line_has_too(running: Running) -> None:
    answer = post(running, secret="not-the-secret")
    assert answer.status_code == 401
    request_id = answer.headers["x-request-id"]
    assert answer.json()["request_id"] == request_id
    until(lambda: "refused" in lines_of(running, request_id))
    assert lines_of(running, request_id)["refused"]["reason"] == "signature_wrong"


def test_server_timing_gives_the_steps_and_metrics_count_them(running: Running) -> None:
    answer = post(running)
    timing = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert set(timing) == {"verify", "encode", "publish", "total"}
    assert float(timing["total"]) >= float(timing["publish"]) > 0
    text = httpx.get(f"{running.url}/metrics").text
    assert 'hookline_webhooks_total{connection="acme-github",outcome="accepted"}' in text
    assert (
        'hookline_signature_verified_total{connection="acme-github",secret_name="2026-11"}' in text
    )
    assert "hookline_webhook_duration_seconds_bucket" in text
    until(
        lambda: (
            'hookline_events_total{outcome="applied"}'
            in httpx.get(f"http://127.0.0.1:{running.health_port}/metrics").text
        )
    )


def test_the_secret_is_in_no_output(running: Running, collector: OtlpCollector) -> None:
    post(running)
    time.sleep(0.5)
    places = {
        "logs": running.logs().encode(),
        "traces": collector.raw(),
        "metrics": httpx.get(f"{running.url}/metrics").content,
        "store": running.store.read_bytes(),
        "config": running.config.read_bytes(),
    }
    assert all(places.values())
    assert [name for name, data in places.items() if SECRET.encode() in data] == []


def test_a_stop_is_clean_and_a_restart_goes_on(running: Running) -> None:
    for name in ("gateway", "consumer"):
        assert running.processes[name].stop() == 0, running.processes[name].tail()
    for name, port in (("gateway", running.gateway_port), ("consumer", running.health_port)):
        running.start(name)
        running.wait_ready(name, port)
    request_id = post(running).headers["x-request-id"]
    until(lambda: "applied" in lines_of(running, request_id))
    with sqlite3.connect(running.store) as connection:
        counts = connection.execute(
            "SELECT count(*), count(DISTINCT event_id) FROM demo_effects"
        ).fetchone()
    assert counts[0] == counts[1] >= 4
