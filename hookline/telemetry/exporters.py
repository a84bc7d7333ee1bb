"""Where each signal goes, as OpenTelemetry's "Environment Variable Specification" says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter

from credentials.secret import Secret
from hookline.telemetry.redaction import Redactor
from schemas.errors import ConfigurationError

_PROTOCOLS: Final = ("http/protobuf", "grpc")
_PATHS: Final = {"TRACES": "v1/traces", "METRICS": "v1/metrics", "LOGS": "v1/logs"}


class Target(NamedTuple):
    """An endpoint of one signal."""

    endpoint: str
    protocol: str


def target_of(environ: Mapping[str, str], signal: str) -> Target | None:
    """Where TRACES, METRICS or LOGS go; None for nowhere, ConfigurationError for what is wrong."""

    def read(name: str) -> str:
        return environ.get(name, "").strip()

    if read("OTEL_SDK_DISABLED").lower() == "true":
        return None
    if read(f"OTEL_{signal}_EXPORTER").lower() == "none":
        return None
    own, general = f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
    # Log lines are on the output already, where most clusters gather them: only if asked for.
    if signal == "LOGS" and not read(own) and read("OTEL_LOGS_EXPORTER").lower() != "otlp":
        return None
    name = own if read(own) else general
    endpoint = read(name)
    if not endpoint:
        return None
    protocol = (
        read(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL")
        or read("OTEL_EXPORTER_OTLP_PROTOCOL")
        or _PROTOCOLS[0]
    )
    if protocol not in _PROTOCOLS:
        raise ConfigurationError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL {protocol!r} is not supported: use "
            + " or ".join(_PROTOCOLS)
        )
    if protocol == "grpc":
        return Target(endpoint, protocol)
    if not endpoint.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"{name} must start with http:// or https://, such as http://localhost:4318 (not "
            "shown, it may hold a password)"
        )
    if name == general:
        endpoint = f"{endpoint.rstrip('/')}/{_PATHS[signal]}"
    return Target(endpoint, protocol)


# The exporters are imported where they are used: they bring an HTTP client or gRPC with them,
# which a process that exports nothing need not load.


def span_exporter(target: Target) -> SpanExporter:
    """Of OTLP."""
    if target.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc

        return grpc.OTLPSpanExporter(endpoint=target.endpoint)
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http

    return http.OTLPSpanExporter(endpoint=target.endpoint)


def metric_exporter(target: Target) -> MetricExporter:
    """Of OTLP."""
    if target.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc

        return grpc.OTLPMetricExporter(endpoint=target.endpoint)
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as http

    return http.OTLPMetricExporter(endpoint=target.endpoint)


def logger_provider_of(target: Target | None, resource: Resource) -> LoggerProvider | None:
    """What exports log records in batches; None without a target."""
    if target is None:
        return None
    exporter: LogRecordExporter
    if target.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc

        exporter = grpc.OTLPLogExporter(endpoint=target.endpoint)
    else:
        from opentelemetry.exporter.otlp.proto.http import _log_exporter as http

        exporter = http.OTLPLogExporter(endpoint=target.endpoint)
    provider = LoggerProvider(resource, shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    return provider


def register_header_values(environ: Mapping[str, str], redactor: Redactor) -> None:
    """Keep the values of OTEL_…_HEADERS out of all output."""
    # These are a vendor's API keys, and an exporter may quote its request when it fails.
    for signal in ("", "TRACES_", "METRICS_", "LOGS_"):
        for header in environ.get(f"OTEL_EXPORTER_OTLP_{signal}HEADERS", "").split(","):
            for word in unquote(header.partition("=")[2]).split():
                if len(word) >= 8:
                    redactor.register(Secret(word))
