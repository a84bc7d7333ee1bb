"""Trace ids are request ids, sampling agrees with the gateway, and an absent collector is quiet."""

import logging
import os
import re
import socket
import threading
import time

import pytest
from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from prometheus_client.parser import text_string_to_metric_families

from credentials.secret import MASK, Secret
from hookline.telemetry.providers import RequestIdGenerator, Telemetry, configure_telemetry
from hookline.telemetry.redaction import Redactor
from hookline.telemetry.span_export import COMPLAINT_INTERVAL_S, ExportComplaints
from schemas import metrics as names
from schemas import request_id
from schemas.errors import ConfigurationError
from schemas.metric_help import HELP
from tests.telemetry.collector import OtlpCollector

CANARY = "c4nary-value-7f1c"


@pytest.fixture
def collector():
    with OtlpCollector() as collector:
        yield collector


@pytest.fixture
def start():
    started: list[Telemetry] = []

    def start(environ=None, ratio=1.0, redactor=None, **more) -> Telemetry:
        telemetry = configure_telemetry(
            "hookline-test", ratio, environ or {}, redactor or Redactor(), **more
        )
        started.append(telemetry)
        return telemetry

    yield start
    for telemetry in started:
        telemetry.shutdown(0.5)
        telemetry._complaints.detach()


def exporting(collector: OtlpCollector) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}


def new_id() -> bytes:
    return request_id.make(time.time_ns() // 1_000_000, os.urandom(10))


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_span_reaches_the_collector_under_the_request_id(collector, start):
    telemetry = start(exporting(collector), environment="staging")
    tracer = telemetry.tracer_provider.get_tracer("hookline.gateway")
    rid = new_id()
    token = request_id.current_request_id.set(rid)
    try:
        with tracer.start_as_current_span(
            "POST /webhooks/{connection}", kind=SpanKind.SERVER, attributes={"a": 1}
        ):
            tracer.start_span("send hookline.events", kind=SpanKind.PRODUCER).end()
    finally:
        request_id.current_request_id.reset(token)
    assert telemetry.shutdown(10)
    spans = collector.wait_for(rid.hex(), names={"send hookline.events"}, count=2)
    server, send = spans
    assert (server.name, server.kind, server.parent_span_id) == (
        "POST /webhooks/{connection}",
        "SERVER",
        "",
    )
    assert (send.kind, send.parent_span_id) == ("PRODUCER", server.span_id)
    assert server.attributes == {"a": 1}
    assert server.resource["service.name"] == "hookline-test"
    assert server.resource["deployment.environment.name"] == "staging"
    assert re.fullmatch(r"[0-9a-f-]{36}", server.resource["service.instance.id"])
    assert server.resource["service.version"]


def test_without_a_request_a_trace_id_still_has_the_time_in_front():
    generator = RequestIdGenerator(lambda: 0x0123456789AB, lambda count: b"\xff" * count)
    assert generator.generate_trace_id() == int("0123456789ab" + "ff" * 10, 16)
    assert generator.generate_span_id() == 2**64 - 1


def test_a_span_id_is_never_zero():
    values = iter([bytes(8), b"\x00" * 7 + b"\x05"])
    assert RequestIdGenerator(random_bytes=lambda _: next(values)).generate_span_id() == 5


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.5, 1.0])
def test_the_sampler_agrees_with_the_gateway_on_every_id(collector, start, ratio):
    telemetry = start(exporting(collector), ratio)
    tracer = telemetry.tracer_provider.get_tracer("t")
    sampled = 0
    for _ in range(10_000):
        rid = new_id()
        token = request_id.current_request_id.set(rid)
        span = tracer.start_span("s")
        request_id.current_request_id.reset(token)
        assert span.is_recording() == request_id.sampled(rid, telemetry.sampling_bound)
        sampled += span.is_recording()
    # Five standard deviations of a binomial of 10,000.
    assert abs(sampled - 10_000 * ratio) <= 5 * (10_000 * ratio * (1 - ratio)) ** 0.5


def test_a_child_follows_its_parent_s_sampling_and_not_the_ratio(collector, start):
    telemetry = start(exporting(collector), 0.0)
    tracer = telemetry.tracer_provider.get_tracer("t")
    for flag in (True, False):
        parent = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(flag))
        context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
        assert tracer.start_span("child", context=context).is_recording() is flag


def test_without_an_endpoint_no_span_is_made_and_metrics_still_are(start):
    before = threading.active_count()
    telemetry = start({})
    assert telemetry.sampling_bound == 0
    assert not telemetry.tracer_provider.get_tracer("t").start_span("s").is_recording()
    telemetry.meter_provider.get_meter("t").create_counter(names.WEBHOOKS).add(1)
    assert b"hookline_webhooks_total 1.0" in telemetry.metrics_text()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "switch", [{"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_SDK_DISABLED": "true"}]
)
def test_tracing_can_be_switched_off_beside_an_endpoint(collector, start, switch):
    assert start(exporting(collector) | switch).sampling_bound == 0


def test_the_traces_endpoint_alone_exports_only_traces(collector, start):
    telemetry = start({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.endpoint}/v1/traces"})
    telemetry.tracer_provider.get_tracer("t").start_span("s").end()
    telemetry.meter_provider.get_meter("t").create_counter(names.WEBHOOKS).add(1)
    assert telemetry.shutdown(10)
    assert collector.wait_for(names={"s"})
    assert collector.metrics() == set()


def test_metrics_reach_the_collector_too(collector, start):
    telemetry = start(exporting(collector))
    telemetry.meter_provider.get_meter("t").create_counter(names.WEBHOOKS).add(1)
    assert telemetry.shutdown(10)
    assert names.WEBHOOKS in collector.metrics()


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_ratio_outside_0_and_1_is_a_configuration_error(ratio):
    with pytest.raises(ConfigurationError, match="from 0 to 1"):
        configure_telemetry("t", ratio, {}, Redactor())


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "use http/protobuf or grpc"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "must start with http://"),
    ],
)
def test_a_wrong_export_variable_is_a_configuration_error(environ, says):
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"} | environ
    with pytest.raises(ConfigurationError, match=says):
        configure_telemetry("t", 1.0, environ, Redactor())


def test_a_registered_secret_is_in_nothing_that_is_exported(collector, start):
    redactor = Redactor()
    redactor.register(Secret(CANARY))
    telemetry = start(exporting(collector), redactor=redactor)
    tracer = telemetry.tracer_provider.get_tracer("t")
    link = Link(SpanContext(1, 2, is_remote=True), {"k": CANARY})
    with tracer.start_as_current_span(
        f"name {CANARY}", attributes={"k": CANARY, CANARY: 1, "n": (CANARY, "b")}, links=[link]
    ) as span:
        span.set_attribute("late", f"x {CANARY} y")
        span.set_attribute("webhook-signature", "zz")
        span.add_event(f"event {CANARY}", {"k": CANARY})
        try:
            raise ValueError(CANARY)
        except ValueError as error:
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, f"because {CANARY}"))
    assert telemetry.shutdown(10)
    (collected,) = collector.wait_for()
    assert CANARY.encode() not in collector.raw()
    assert collected.name == f"name {MASK}"
    assert collected.attributes["late"] == f"x {MASK} y"
    assert collected.attributes["n"] == [MASK, "b"]
    assert collected.attributes["webhook-signature"] == MASK
    assert collected.status_message == f"because {MASK}"
    assert collected.status == "ERROR"
    assert collected.events[1].attributes["exception.message"] == MASK
    assert collected.links[0].attributes == {"k": MASK}


def test_the_collector_s_api_key_is_redacted_from_then_on(collector, start):
    redactor = Redactor()
    headers = {
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-vendor-key={CANARY}, authorization=Basic%20{CANARY}2"
    }
    start(exporting(collector) | headers, redactor=redactor)
    assert redactor.redact(f"sent {CANARY} and {CANARY}2") == f"sent {MASK} and {MASK}"


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_an_absent_collector_slows_nothing_and_is_said_once(start, caplog, protocol):
    scheme = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{closed_port()}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
    }
    with caplog.at_level(logging.DEBUG):
        telemetry = start(scheme)
        tracer = telemetry.tracer_provider.get_tracer("t")
        # More than the exporter's queue holds, so that it also drops.
        for _ in range(6_000):
            tracer.start_span("s").end()
        began_s = time.monotonic()
        telemetry.shutdown(0.5)
        assert time.monotonic() - began_s < 5
    said = [r for r in caplog.records if r.name.startswith(("hookline", "opentelemetry"))]
    assert [r.name for r in said] == ["hookline.telemetry.providers"]
    assert "lost on its way out" in said[0].message


def test_a_collector_that_refuses_is_said_once_and_again_after_a_minute(caplog):
    now_s = 100.0
    complaints = ExportComplaints(lambda: now_s)
    complaints.attach()
    try:
        logger = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        for _ in range(3):
            logger.error("Failed to export %s", "spans")
        now_s += COMPLAINT_INTERVAL_S
        logger.error("Failed again")
    finally:
        complaints.detach()
    assert [r.data for r in caplog.records] == [
        {"reason": "Failed to export spans", "unsaid": 0},
        {"reason": "Failed again", "unsaid": 2},
    ]
    assert logging.getLogger("opentelemetry.exporter").propagate


def families(telemetry):
    text = telemetry.metrics_text().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_every_metric_has_its_plain_name_on_the_metrics_page(start):
    telemetry = start()
    meter = telemetry.meter_provider.get_meter("hookline.gateway")
    labels = {"connection": "acme", "outcome": "accepted"}
    meter.create_counter(names.WEBHOOKS, unit="{webhook}").add(2, labels)
    meter.create_histogram(names.WEBHOOK_SECONDS, unit="s").record(0.003, labels)
    meter.create_histogram(names.COMMIT_SECONDS).record(0.003)
    meter.create_histogram(names.EVENTS_PER_COMMIT).record(7)
    meter.create_up_down_counter(names.PUBLISH_IN_FLIGHT_BYTES, unit="By").add(5)
    text = telemetry.metrics_text().decode()
    assert 'hookline_webhooks_total{connection="acme",outcome="accepted"} 2.0\n' in text
    assert re.search(r'hookline_webhook_duration_seconds_bucket{.*le="0.0025".*} 0.0\n', text)
    assert re.search(r'hookline_webhook_duration_seconds_bucket{.*le="0.005".*} 1.0\n', text)
    assert re.search(r"hookline_webhook_duration_seconds_count{.*} 1.0\n", text)
    assert "hookline_commit_duration_seconds_count 1.0\n" in text
    assert 'hookline_events_per_commit_bucket{le="10.0"} 1.0\n' in text
    assert "hookline_publish_in_flight_bytes 5.0\n" in text
    assert "seconds_seconds" not in text
    assert "bytes_bytes" not in text
    assert "otel_scope" not in text


def test_every_histogram_has_the_buckets_of_the_schema(start):
    telemetry = start()
    meter = telemetry.meter_provider.get_meter("t")
    for name in names.HISTOGRAM_BOUNDS:
        meter.create_histogram(name).record(1)
    found = families(telemetry)
    for name, bounds in names.HISTOGRAM_BOUNDS.items():
        upper = [float(s.labels["le"]) for s in found[name].samples if s.name == f"{name}_bucket"]
        assert upper == [*bounds, float("inf")]
        assert list(bounds) == sorted(set(bounds))


def test_every_metric_says_what_it_is():
    everything = {
        value
        for value in vars(names).values()
        if isinstance(value, str) and value.startswith("hookline_")
    }
    assert set(HELP) == everything
    assert all(text.endswith(".") and len(text) < 100 for text in HELP.values())


def test_every_name_of_a_duration_has_buckets_in_seconds():
    durations = {
        value
        for value in vars(names).values()
        if isinstance(value, str) and value.startswith("hookline_") and value.endswith("_seconds")
    }
    # An age or a moment that is read as it is, not a distribution.
    durations -= {
        names.CONNECTION_LONGEST_PAUSE_SECONDS,
        names.CONNECTION_SILENT_SECONDS,
        names.LAG_SECONDS,
        names.PROBE_STEP_SECONDS,
        names.PROBE_SUCCESS_TIMESTAMP_SECONDS,
        names.SECRETS_END_SECONDS,
        names.OLDEST_UNFINISHED_SECONDS,
        names.SPOOL_OLDEST_SECONDS,
        names.CONNECTIONS_AGE_SECONDS,
        names.SECRET_BACKEND_SILENT_SECONDS,
    }
    assert durations <= set(names.HISTOGRAM_BOUNDS)


class Overlap:
    """A collector that knows how many scrapes are in it at once."""

    def __init__(self):
        self.now = self.most = 0

    def collect(self):
        self.now += 1
        self.most = max(self.most, self.now)
        time.sleep(0.005)
        self.now -= 1
        return []


def test_scrapes_at_once_wait_for_each_other_and_each_get_the_whole_page(start):
    telemetry = start()
    telemetry.meter_provider.get_meter("t").create_counter(names.WEBHOOKS).add(1)
    overlap = Overlap()
    telemetry._registry.register(overlap)
    pages: list[bytes] = []
    scrapers = [
        threading.Thread(target=lambda: pages.extend(telemetry.metrics_text() for _ in range(5)))
        for _ in range(4)
    ]
    for scraper in scrapers:
        scraper.start()
    for scraper in scrapers:
        scraper.join()
    assert overlap.most == 1
    assert [page.count(b"hookline_webhooks_total 1.0") for page in pages] == [1] * 20


def test_the_metrics_page_says_which_process_it_is_of(start):
    text = start({}, environment="staging").metrics_text().decode()
    # An empty meter has no target yet; the process's own figures are always there.
    assert "process_cpu_seconds_total" in text or not os.path.exists("/proc/self/stat")
    telemetry = start({}, environment="staging")
    telemetry.meter_provider.get_meter("t").create_counter(names.WEBHOOKS).add(1)
    (target,) = [
        line
        for line in telemetry.metrics_text().decode().splitlines()
        if line.startswith("target_info{")
    ]
    assert 'service_name="hookline-test"' in target
    assert 'deployment_environment_name="staging"' in target
