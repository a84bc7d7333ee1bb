"""A run's traces in a real Jaeger, asked for by the request id of an HTTP answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.end_to_end.posting import CONNECTION, SECRET, post
from tests.end_to_end.running import Running, until
from tests.parts.jaeger import JaegerServer
from tests.parts.kafka import KafkaBroker

pytestmark = [pytest.mark.kafka, pytest.mark.jaeger]

Span = dict[str, Any]


@pytest.fixture(scope="module")
def running(
    kafka: KafkaBroker, jaeger: JaegerServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    environ = {
        "ACME_SHOP_SECRET": SECRET,
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    settings = {
        "consumer": {
            "handlers": "tests.end_to_end.failing_handlers:handlers",
            "retry": {"initial_ms": 50, "max_ms": 100, "budget_ms": 5_000},
        }
    }
    folder = tmp_path_factory.mktemp("jaeger")
    with Running(
        kafka, folder, connections=[CONNECTION], environ=environ, settings=settings
    ) as started:
        yield started


def trace_of(jaeger: JaegerServer, request_id: str, names: list[str]) -> list[Span]:
    """The trace's spans by their beginnings, when spans of these names are there."""
    spans: list[Span] = []

    def there() -> bool:
        spans[:] = sorted(jaeger.spans(request_id), key=lambda span: span["startTime"])
        return sorted(span["operationName"] for span in spans) == sorted(names)

    try:
        until(there)
    except AssertionError:
        found = [span["operationName"] for span in spans]
        raise AssertionError(f"Jaeger has {found}, not {names}") from None
    assert {span["traceID"] for span in spans} == {request_id}
    return spans


def named(spans: list[Span], begin: str) -> list[Span]:
    return [span for span in spans if span["operationName"].startswith(begin)]


def tag(span: Span, key: str) -> Any:
    return next((item["value"] for item in span["tags"] if item["key"] == key), None)


def parent(span: Span) -> str | None:
    return next((r["spanID"] for r in span["references"] if r["refType"] == "CHILD_OF"), None)


def links(span: Span) -> list[Span]:
    return [r for r in span["references"] if r["refType"] == "FOLLOWS_FROM"]


def test_the_id_in_the_answer_opens_gateway_send_process_and_commit(
    running: Running, jaeger: JaegerServer
) -> None:
    answer = post(running.url)
    assert answer.status_code == 200
    topic = running.events_topic
    server, send, process, commit = trace_of(
        jaeger,
        answer.headers["x-request-id"],
        ["POST /webhooks/{connection}", f"send {topic}", f"process {topic}", f"commit {topic}"],
    )
    assert parent(server) is None
    assert parent(send) == server["spanID"]
    assert parent(process) == parent(commit) == send["spanID"]
    assert tag(process, "messaging.message.conversation_id") == answer.headers["x-request-id"]
    # To the poll that brought it, which is of no single event and so in a trace of its own.
    (link,) = links(process)
    (poll,) = [s for s in jaeger.spans(link["traceID"]) if s["spanID"] == link["spanID"]]
    assert poll["operationName"] == f"poll {topic}"


def test_a_duplicate_has_a_trace_of_its_own_to_its_commit(
    running: Running, jaeger: JaegerServer
) -> None:
    event_id, order = f"msg_{uuid4().hex}", uuid4().hex[:12]
    first = post(running.url, event_id=event_id, order=order).headers["x-request-id"]
    second = post(running.url, event_id=event_id, order=order).headers["x-request-id"]
    topic = running.events_topic
    names = ["POST /webhooks/{connection}", f"send {topic}", f"commit {topic}"]
    trace_of(jaeger, first, [*names, f"process {topic}"])
    # No handler was called for it.
    trace_of(jaeger, second, names)


def test_each_try_of_a_retried_event_is_a_span(running: Running, jaeger: JaegerServer) -> None:
    request_id = post(running.url, "twice").headers["x-request-id"]
    topic = running.events_topic
    names = ["POST /webhooks/{connection}", f"send {topic}", f"commit {topic}"]
    spans = trace_of(jaeger, request_id, [*names, *[f"process {topic}"] * 3])
    tries = named(spans, "process")
    assert [tag(span, "hookline.attempt") for span in tries] == [1, 2, 3]
    assert [tag(span, "error.type") for span in tries] == ["ConnectionError"] * 2 + [None]
    assert [bool(links(span)) for span in tries] == [True] * 3


def test_a_refused_request_has_its_span(running: Running, jaeger: JaegerServer) -> None:
    answer = post(running.url, secret="whsec_" + "d3Jvbmctc2VjcmV0LW9mLXRoZS10ZXN0cw==")
    assert answer.status_code == 401
    (server,) = trace_of(jaeger, answer.headers["x-request-id"], ["POST /webhooks/{connection}"])
    assert tag(server, "http.response.status_code") == 401
