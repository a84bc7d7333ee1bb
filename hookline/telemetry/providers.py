"""Sets up traces, metrics and exported logs of a process, from the standard OTEL_… variables.

Without an OTLP endpoint nothing is exported and spans cost nothing; /metrics always works.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from opentelemetry import metrics, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics

from hookline.telemetry.exporters import (
    logger_provider_of,
    metric_exporter,
    register_header_values,
    span_exporter,
    target_of,
)
from hookline.telemetry.histograms import OwnHistograms, WithOwnHistograms
from hookline.telemetry.redaction import Redactor
from hookline.telemetry.span_export import ExportComplaints, RedactingSpanExporter
from schemas import request_id
from schemas.errors import ConfigurationError
from schemas.metric_help import HELP
from schemas.metrics import HISTOGRAM_BOUNDS

#: The Content-Type of what `Telemetry.metrics_text` gives.
METRICS_CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
#: And of what `Telemetry.open_metrics_text` gives.
OPEN_METRICS_CONTENT_TYPE: Final = openmetrics.CONTENT_TYPE_LATEST


class RequestIdGenerator(IdGenerator):
    """Trace ids are request ids: the current one, or a new one of the same form."""

    def __init__(
        self,
        unix_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        random_bytes: Callable[[int], bytes] = random.randbytes,
    ) -> None:
        self._unix_ms = unix_ms
        self._random_bytes = random_bytes

    def generate_trace_id(self) -> int:
        """128 bits: 48 of Unix time in ms, 80 random."""
        current = request_id.current_request_id.get()
        if current is None:
            current = request_id.make(self._unix_ms(), self._random_bytes(request_id.RANDOM_BYTES))
        return request_id.trace_id(current)

    def generate_span_id(self) -> int:
        """64 random bits, never 0, which W3C Trace Context forbids."""
        while not (span_id := int.from_bytes(self._random_bytes(8), "big")):
            pass
        return span_id

    def is_trace_id_random(self) -> bool:
        """True: the low 56 bits are random (W3C Trace Context level 2)."""
        return True


class Telemetry:
    """A process's tracing and metrics, made by `configure_telemetry`."""

    def __init__(
        self,
        tracer_provider: trace.TracerProvider,
        meter_provider: MeterProvider,
        registry: CollectorRegistry,
        histograms: OwnHistograms,
        sampling_bound: int,
        complaints: ExportComplaints,
        spans: SpanProcessor | None = None,
        logger_provider: LoggerProvider | None = None,
    ) -> None:
        self.tracer_provider = tracer_provider
        self.meter_provider = meter_provider
        #: For `schemas.request_id.sampled`: ratio * 2**64, or 0 when spans go nowhere.
        self.sampling_bound = sampling_bound
        #: What finished spans are handed to, for those made elsewhere; None if they go nowhere.
        self.spans = spans
        self._registry = registry
        #: For `LogExport`; None where log lines are not exported.
        self.logger_provider = logger_provider
        #: Where rooms' own histograms are shown.
        self.histograms = histograms
        self._complaints = complaints
        self._scrape = threading.Lock()

    def install(self) -> Telemetry:
        """Make these the providers that `trace.get_tracer` and `metrics.get_meter` use.

        OpenTelemetry takes them once in a process. Gives itself back.
        """
        trace.set_tracer_provider(self.tracer_provider)
        metrics.set_meter_provider(self.meter_provider)
        return self

    def metrics_text(self) -> bytes:
        """All metrics in Prometheus' text format 0.0.4."""
        # The reader hands its data over in a queue that two scrapes at once would share.
        with self._scrape:
            return generate_latest(self._registry)

    def open_metrics_text(self) -> bytes:
        """The same in OpenMetrics' format, which has room for exemplars."""
        with self._scrape:
            text: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
        return text

    def shutdown(self, within_s: float) -> bool:
        """Export what is left; False if that took longer than `within_s` and was given up."""
        providers = [self.meter_provider, self.tracer_provider, self.logger_provider]
        threads = [
            # Daemons: an exporter that hangs must not keep the process.
            threading.Thread(target=provider.shutdown, name="telemetry-shutdown", daemon=True)
            for provider in providers
            if isinstance(provider, MeterProvider | TracerProvider | LoggerProvider)
        ]
        deadline_s = time.monotonic() + within_s
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            return False
        self._complaints.detach()
        return True


def configure_telemetry(
    service_name: str,
    sample_ratio: float,
    environ: Mapping[str, str],
    redactor: Redactor,
    *,
    environment: str = "",
) -> Telemetry:
    """Tracing and metrics for one process; ConfigurationError if an OTEL_… variable is wrong.

    Follows OpenTelemetry's "Environment Variable Specification": an endpoint, general or of one
    signal, turns the export of that signal on. `environment` becomes the resource attribute
    deployment.environment.name.
    """
    if not 0.0 <= sample_ratio <= 1.0:
        raise ConfigurationError(
            f"the sample ratio is a number from 0 to 1, not {sample_ratio}: 0.1 traces one "
            "request in ten"
        )
    traces = target_of(environ, "TRACES")
    metrics_target = target_of(environ, "METRICS")
    logs = target_of(environ, "LOGS")
    register_header_values(environ, redactor)
    resource = _resource(service_name, environment)
    complaints = ExportComplaints()
    if any(target is not None for target in (traces, metrics_target, logs)):
        complaints.attach()

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    readers: list[MetricReader] = [
        PrometheusMetricReader(registry=registry, scope_info_enabled=False)
    ]
    histograms = OwnHistograms()
    registry.register(histograms)
    if metrics_target is not None:
        exporter = WithOwnHistograms(metric_exporter(metrics_target), histograms, resource)
        readers.append(PeriodicExportingMetricReader(exporter))
    meter_provider = MeterProvider(
        readers,
        resource,
        exemplar_filter=AlwaysOffExemplarFilter(),
        shutdown_on_exit=False,
        views=[
            View(
                instrument_name=name,
                description=text,
                aggregation=ExplicitBucketHistogramAggregation(
                    HISTOGRAM_BOUNDS[name], record_min_max=False
                )
                if name in HISTOGRAM_BOUNDS
                else None,
            )
            for name, text in HELP.items()
        ],
    )

    logger_provider = logger_provider_of(logs, resource)
    if traces is None:
        return Telemetry(
            trace.NoOpTracerProvider(),
            meter_provider,
            registry,
            histograms,
            0,
            complaints,
            logger_provider=logger_provider,
        )
    sampler = TraceIdRatioBased(sample_ratio)
    tracer_provider = TracerProvider(
        sampler=ParentBased(sampler),
        resource=resource,
        shutdown_on_exit=False,
        id_generator=RequestIdGenerator(),
    )
    spans = BatchSpanProcessor(RedactingSpanExporter(span_exporter(traces), redactor))
    tracer_provider.add_span_processor(spans)
    return Telemetry(
        tracer_provider,
        meter_provider,
        registry,
        histograms,
        sampler.bound,
        complaints,
        spans,
        logger_provider,
    )


def _resource(service_name: str, environment: str) -> Resource:
    try:
        service_version = version("hookline")
    except PackageNotFoundError:
        service_version = "unknown"
    attributes = {
        "service.name": service_name,
        "service.version": service_version,
        "service.instance.id": str(uuid.uuid4()),
    }
    if environment:
        attributes["deployment.environment.name"] = environment
    return Resource.create(attributes)
