"""An OTLP/HTTP collector in this process: real protobuf over a real socket, kept in memory.

with OtlpCollector() as collector:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    ...
    spans = collector.wait_for(request_id_hex, names={"send hookline.events"})
"""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Collection, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage


class CollectedEvent(msgspec.Struct, frozen=True):
    """An event of a span."""

    name: str
    attributes: dict[str, Any]


class CollectedLink(msgspec.Struct, frozen=True):
    """A link of a span."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any]


class CollectedSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One span as it arrived; ids are hex digits, `kind` and `status` the names in OTLP."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    events: list[CollectedEvent]
    links: list[CollectedLink]
    status: str
    status_message: str
    scope: str
    resource: dict[str, Any]


class CollectedLog(msgspec.Struct, frozen=True, kw_only=True):
    """One log record as it arrived."""

    trace_id: str
    flags: int
    severity: str
    body: str
    attributes: dict[str, Any]
    scope: str


class OtlpCollector:
    """Listens on a free loopback port from `with` to its end."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self._spans: list[CollectedSpan] = []
        self._metrics: set[str] = set()
        self._logs: list[CollectedLog] = []
        self._raw: list[bytes] = []
        self.refuse_with: int | None = None
        self.requests = 0
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                collector._serve(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def endpoint(self) -> str:
        """The value for OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> OtlpCollector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spans(self, trace_id_hex: str | None = None) -> list[CollectedSpan]:
        """What has come so far, all or of one trace, in the order of start."""
        with self._arrived:
            return self._of(trace_id_hex)

    def metrics(self) -> set[str]:
        """The names of the metrics that have come so far."""
        with self._arrived:
            return set(self._metrics)

    def logs(self) -> list[CollectedLog]:
        """The log records that have come so far."""
        with self._arrived:
            return list(self._logs)

    def raw(self) -> bytes:
        """Every body so far, to search for what must not be there."""
        with self._arrived:
            return b"\n".join(self._raw)

    def wait_for(
        self,
        trace_id_hex: str | None = None,
        *,
        names: Collection[str] = (),
        count: int = 1,
        timeout_s: float = 15.0,
    ) -> list[CollectedSpan]:
        """The spans, once there are `count` and each of `names`; AssertionError with what came."""
        deadline_s = time.monotonic() + timeout_s
        with self._arrived:
            while True:
                found = self._of(trace_id_hex)
                have = {span.name for span in found}
                if len(found) >= count and have >= set(names):
                    return found
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    raise AssertionError(
                        f"after {timeout_s} s: {len(found)} of {count} spans, missing "
                        f"{sorted(set(names) - have)}, came {sorted(have)}; all traces: "
                        f"{sorted({span.trace_id for span in self._spans})[:10]}"
                    )
                self._arrived.wait(left_s)

    def _of(self, trace_id_hex: str | None) -> list[CollectedSpan]:
        found = (s for s in self._spans if trace_id_hex is None or s.trace_id == trace_id_hex)
        return sorted(found, key=lambda span: span.start_ns)

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", "0")))
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        status, answer = self.refuse_with or 200, b""
        with self._arrived:
            self.requests += 1
            if status == 200 and request.path == "/v1/traces":
                self._raw.append(body)
                self._spans += _spans(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
            elif status == 200 and request.path == "/v1/metrics":
                self._raw.append(body)
                self._metrics |= _metric_names(ExportMetricsServiceRequest.FromString(body))
                answer = ExportMetricsServiceResponse().SerializeToString()
            elif status == 200 and request.path == "/v1/logs":
                self._raw.append(body)
                self._logs += _log_records(ExportLogsServiceRequest.FromString(body))
                answer = ExportLogsServiceResponse().SerializeToString()
            elif status == 200:
                status = 404
            self._arrived.notify_all()
        request.send_response(status)
        request.send_header("Content-Type", "application/x-protobuf")
        request.send_header("Content-Length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer)


def _log_records(message: ExportLogsServiceRequest) -> Iterable[CollectedLog]:
    for of_resource in message.resource_logs:
        for of_scope in of_resource.scope_logs:
            for record in of_scope.log_records:
                yield CollectedLog(
                    trace_id=record.trace_id.hex(),
                    flags=record.flags,
                    severity=record.severity_text,
                    body=record.body.string_value,
                    attributes=_attributes(record.attributes),
                    scope=of_scope.scope.name,
                )


def _spans(message: ExportTraceServiceRequest) -> Iterable[CollectedSpan]:
    for of_resource in message.resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield CollectedSpan(
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_span_id=span.parent_span_id.hex(),
                    name=span.name,
                    kind=SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    events=[CollectedEvent(e.name, _attributes(e.attributes)) for e in span.events],
                    links=[
                        CollectedLink(
                            link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes)
                        )
                        for link in span.links
                    ],
                    status=("UNSET", "OK", "ERROR")[span.status.code],
                    status_message=span.status.message,
                    scope=of_scope.scope.name,
                    resource=_attributes(of_resource.resource.attributes),
                )


def _metric_names(message: ExportMetricsServiceRequest) -> set[str]:
    return {
        metric.name
        for of_resource in message.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
    }


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)
