"""Our own histograms, on /metrics and by OTLP, say what OpenTelemetry's would say."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from hookline.telemetry.histograms import OwnHistograms, WithOwnHistograms
from schemas.histogram import Exemplar, Histogram

BOUNDS = (0.001, 0.01, 0.1)


@given(st.lists(st.floats(0, 1)))
def test_each_value_is_in_the_bucket_whose_bound_it_does_not_pass(values: list[float]) -> None:
    histogram = Histogram(BOUNDS)
    for value in values:
        assert histogram.add(value) == bisect_left(BOUNDS, value)
    for number, bound in enumerate(BOUNDS):
        assert sum(histogram.counts[: number + 1]) == sum(value <= bound for value in values)
    assert sum(histogram.counts) == len(values)


def shown() -> tuple[OwnHistograms, Histogram]:
    histogram, histograms = Histogram(BOUNDS), OwnHistograms()
    histograms.add({"hookline_a_seconds": histogram})
    for value in (0.0005, 0.001, 0.05, 7.0):
        histogram.add(value)
    return histograms, histogram


def test_prometheus_gets_cumulative_buckets() -> None:
    histograms, _ = shown()
    registry = CollectorRegistry()
    registry.register(histograms)
    assert generate_latest(registry).decode().splitlines()[1:] == [
        "# TYPE hookline_a_seconds histogram",
        'hookline_a_seconds_bucket{le="0.001"} 2.0',
        'hookline_a_seconds_bucket{le="0.01"} 2.0',
        'hookline_a_seconds_bucket{le="0.1"} 3.0',
        'hookline_a_seconds_bucket{le="+Inf"} 4.0',
        "hookline_a_seconds_count 4.0",
        "hookline_a_seconds_sum 7.0515",
    ]


def test_an_exemplar_opens_the_trace_of_one_value() -> None:
    histograms, histogram = shown()
    histogram.exemplars[2] = Exemplar("ab" * 16, 0.05, 1_764_000_000.0)
    registry = CollectorRegistry()
    registry.register(histograms)
    text = open_metrics(registry).decode()  # type: ignore[no-untyped-call]
    (family,) = text_string_to_metric_families(text)
    found = [sample.exemplar for sample in family.samples if sample.exemplar]
    assert [(one.labels, one.value) for one in found] == [({"trace_id": "ab" * 16}, 0.05)]


class Exporter(MetricExporter):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[MetricsData] = []

    def export(self, metrics_data: MetricsData, *_: Any, **__: Any) -> MetricExportResult:
        self.got.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, *_: Any) -> bool:
        return True

    def shutdown(self, *_: Any, **__: Any) -> None: ...


def test_otlp_gets_them_behind_the_others() -> None:
    histograms, _ = shown()
    exporter = Exporter()
    both = WithOwnHistograms(exporter, histograms, Resource.create({"service.name": "x"}))
    assert both.export(MetricsData([])) is MetricExportResult.SUCCESS
    (data,) = exporter.got[0].resource_metrics
    (metric,) = data.scope_metrics[0].metrics
    (point,) = metric.data.data_points
    assert (metric.name, point.count, list(point.bucket_counts)) == (
        *("hookline_a_seconds", 4, [2, 0, 1, 1]),
    )
    assert list(point.explicit_bounds) == list(BOUNDS)


def test_without_values_there_is_nothing_to_export() -> None:
    histograms = OwnHistograms()
    histograms.add({"hookline_a_seconds": Histogram(BOUNDS)})
    assert histograms.data(Resource.create()) is None
