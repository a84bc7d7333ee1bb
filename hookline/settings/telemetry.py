"""Logs and traces as settings: `telemetry`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from consumer.monitor.trace_links import checked_template
from hookline.settings.execution_log import ExecutionLogSettings


class TailSettings(BaseModel):
    """Whole traces of events that failed or were slow, made by the monitor from the execution log.

    They go where the monitor's OTEL_EXPORTER_OTLP_ENDPOINT says; without one, none are made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    enabled: bool = Field(True, description="Whether they are made.")
    slow_ms: int = Field(
        5_000,
        ge=1,
        le=86_400_000,
        description="From the gateway's reading it to its commit (of a request: to its answer); "
        "what takes longer is slow.",
    )
    max_traces_per_s: int = Field(
        100, ge=1, le=10_000, description="More in a second are counted and not made."
    )


class TelemetrySettings(BaseModel):
    """Logs and traces; where traces go is OTEL_EXPORTER_OTLP_ENDPOINT's to say."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    sample_ratio: float = Field(1.0, ge=0, le=1, description="Which share of requests is traced.")
    max_traces_per_s: float = Field(
        10.0,
        gt=0,
        le=100_000,
        description="Of these, at most so many a second in each gateway, and five times as many at "
        "once. A trace costs a gateway about three times what all else of a webhook does.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"
    trace_url: str = Field(
        "",
        description="Where people open a trace: jaeger+https://host, tempo+https://grafana-host, "
        "or an address with {trace_id} in it.",
    )
    executions: ExecutionLogSettings = ExecutionLogSettings()
    tail: TailSettings = TailSettings()

    @field_validator("trace_url")
    @classmethod
    def _has_its_place(cls, template: str) -> str:
        if template:
            checked_template(template)
        return template
