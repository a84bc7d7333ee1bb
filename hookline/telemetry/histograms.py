"""Our own histograms on /metrics and in what is exported by OTLP, as OpenTelemetry's would be."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as PrometheusExemplar

from schemas.histogram import Histogram
from schemas.metric_help import HELP

_SCOPE: Final = InstrumentationScope("hookline")


class OwnHistograms(Collector):
    """Name → histogram, as a collector of prometheus_client's registry."""

    def __init__(self) -> None:
        self._histograms: dict[str, Histogram] = {}
        self._began_ns = time.time_ns()

    def add(self, histograms: Mapping[str, Histogram]) -> None:
        """Show these from now on."""
        self._histograms = self._histograms | dict(histograms)

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Called by the registry."""
        for name, histogram in self._histograms.items():
            family = HistogramMetricFamily(name, HELP.get(name, ""))
            counts = histogram.counts.copy()
            total = 0
            buckets: list[Any] = []
            for bound, count, exemplar in zip(
                (*histogram.bounds, math.inf), counts, histogram.exemplars.copy(), strict=True
            ):
                total += count
                le = "+Inf" if bound == math.inf else repr(bound)
                if exemplar is None:
                    buckets.append((le, total))
                    continue
                shown = PrometheusExemplar(
                    {"trace_id": exemplar.trace_id}, exemplar.value, exemplar.unix_s
                )
                buckets.append((le, total, shown))
            family.add_metric([], buckets, histogram.sum)
            yield family

    def data(self, resource: Resource) -> ResourceMetrics | None:
        """The same for OTLP; None if there are none."""
        now_ns = time.time_ns()
        shown = [
            Metric(
                name=name,
                description=HELP.get(name, ""),
                unit="s",
                data=HistogramData(
                    data_points=[
                        HistogramDataPoint(
                            attributes={},
                            start_time_unix_nano=self._began_ns,
                            time_unix_nano=now_ns,
                            count=sum(counts),
                            sum=histogram.sum,
                            bucket_counts=counts,
                            explicit_bounds=histogram.bounds,
                            min=0.0,
                            max=histogram.bounds[-1],
                        )
                    ],
                    aggregation_temporality=AggregationTemporality.CUMULATIVE,
                ),
            )
            for name, histogram in self._histograms.items()
            if (counts := histogram.counts.copy()) and any(counts)
        ]
        if not shown:
            return None
        scope = ScopeMetrics(scope=_SCOPE, metrics=shown, schema_url="")
        return ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url="")


class WithOwnHistograms(MetricExporter):
    """Hands metrics on, ours among them."""

    def __init__(
        self, exporter: MetricExporter, histograms: OwnHistograms, resource: Resource
    ) -> None:
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)
        self._exporter = exporter
        self._histograms = histograms
        self._resource = resource

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **more: Any
    ) -> MetricExportResult:
        """What the wrapped exporter answers."""
        own = self._histograms.data(self._resource)
        if own is not None:
            metrics_data = MetricsData([*metrics_data.resource_metrics, own])
        return self._exporter.export(metrics_data, timeout_millis, **more)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Flush the wrapped exporter."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **more: Any) -> None:
        """Shut the wrapped exporter down."""
        self._exporter.shutdown(timeout_millis, **more)
