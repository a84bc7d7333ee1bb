"""The last stretch of a span's way out: redacted, and quiet when the collector is away.

Redaction is done on the exporter's thread, where it costs no request its time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Status

from credentials.secret import MASK
from hookline.telemetry.redaction import SECRET_NAMES, Redactor

COMPLAINT_INTERVAL_S: Final = 60.0

# What speaks when an export fails, by HTTP or gRPC, for traces and metrics.
_EXPORT_LOGGERS: Final = (
    "opentelemetry.exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.metrics._internal.export",
    "opentelemetry.sdk.trace.export",
)

_log = logging.getLogger("hookline.telemetry.providers")


_MOST_KNOWN: Final = 4_096
_LONGEST_KNOWN: Final = 128


class RedactingSpanExporter(SpanExporter):
    """Hands spans on without secrets in name, attributes, events, links or status."""

    def __init__(self, exporter: SpanExporter, redactor: Redactor) -> None:
        self._exporter = exporter
        self._redactor = redactor
        #: What was redacted before: nearly all names and most values are in every span.
        self._known: dict[str, str] = {}
        self._version = redactor.version

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """What the wrapped exporter answers."""
        version = self._redactor.version
        if version != self._version or len(self._known) > _MOST_KNOWN:
            self._version, self._known = version, {}
        return self._exporter.export([self._redacted(span) for span in spans])

    def shutdown(self) -> None:
        """Shut the wrapped exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the wrapped exporter."""
        return self._exporter.force_flush(timeout_millis)

    def _redacted(self, span: ReadableSpan) -> ReadableSpan:
        status = span.status
        if status.description:
            status = Status(status.status_code, self._text(status.description))
        return ReadableSpan(
            name=self._text(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self._attributes(span.attributes),
            events=[
                Event(
                    self._text(event.name),
                    self._attributes(event.attributes),
                    event.timestamp,
                )
                for event in span.events
            ],
            links=[Link(link.context, self._attributes(link.attributes)) for link in span.links],
            kind=span.kind,
            status=status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _attributes(self, attributes: Any) -> dict[str, Any]:
        return {
            self._text(name): (MASK if name.lower() in SECRET_NAMES else self._value(value))
            for name, value in (attributes or {}).items()
        }

    def _text(self, text: str) -> str:
        redacted = self._known.get(text)
        if redacted is None:
            redacted = self._redactor.redact(text)
            if len(text) <= _LONGEST_KNOWN:
                self._known[text] = redacted
        return redacted

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, tuple | list):
            return [self._value(item) for item in value]
        return value


class ExportComplaints(logging.Handler):
    """Takes the exporters' own log records and says one in a while, with how many there were.

    An absent collector would otherwise write several lines with every batch.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._monotonic_s = monotonic_s
        self._quiet_until_s: float | None = None
        self._unsaid = 0

    def attach(self) -> None:
        """Take the exporters' records from now on."""
        for name in _EXPORT_LOGGERS:
            logger = logging.getLogger(name)
            logger.propagate = False
            logger.addHandler(self)

    def detach(self) -> None:
        """Let the exporters' records go their usual way again."""
        for name in _EXPORT_LOGGERS:
            logger = logging.getLogger(name)
            logger.removeHandler(self)
            logger.propagate = True

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging, with this handler's lock held."""
        now_s = self._monotonic_s()
        if self._quiet_until_s is not None and now_s < self._quiet_until_s:
            self._unsaid += 1
            return
        self._quiet_until_s = now_s + COMPLAINT_INTERVAL_S
        unsaid, self._unsaid = self._unsaid, 0
        _log.warning(
            "Telemetry is lost on its way out, webhooks are not affected: check the collector "
            "behind OTEL_EXPORTER_OTLP_ENDPOINT",
            extra={"data": {"reason": record.getMessage(), "unsaid": unsaid}},
        )
