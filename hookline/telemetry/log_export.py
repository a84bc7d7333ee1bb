"""Log lines by OTLP as well, redacted as those of the output, each in the trace of its request."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.trace import TraceFlags

from hookline.telemetry.logs import Fields
from hookline.telemetry.redaction import Redactor
from schemas import request_id as request_ids

_SEVERITIES: Final = (
    (logging.CRITICAL, SeverityNumber.FATAL),
    (logging.ERROR, SeverityNumber.ERROR),
    (logging.WARNING, SeverityNumber.WARN),
    (logging.INFO, SeverityNumber.INFO),
)


class LogExport(logging.Handler):
    """Hands records to OpenTelemetry; what it cannot take is only in the output."""

    def __init__(
        self,
        provider: LoggerProvider,
        redactor: Redactor,
        sampling_bound: int,
        always: Mapping[str, Any] | None = None,
    ) -> None:
        """`sampling_bound` as `schemas.request_id.sampled` takes it."""
        super().__init__()
        self._provider = provider
        self._fields = Fields(redactor, always)
        self._bound = sampling_bound

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        try:
            self._provider.get_logger(record.name).emit(self._converted(record))
        except Exception:
            # The line is in the output: nothing to say, and nobody to say it to.
            return

    def _converted(self, record: logging.LogRecord) -> LogRecord:
        fields = self._fields
        attributes: dict[str, Any] = dict(fields.data(record))
        shown = fields.request_id(record)
        trace_id, flags = None, TraceFlags(TraceFlags.DEFAULT)
        if shown is not None:
            attributes["hookline.request_id"] = shown
            try:
                request_id = request_ids.parse(shown)
            except ValueError:
                pass
            else:
                trace_id = request_ids.trace_id(request_id)
                if request_ids.sampled(request_id, self._bound):
                    flags = TraceFlags(TraceFlags.SAMPLED)
        exception = fields.exception(record)
        if exception is not None:
            attributes |= {
                "exception.type": exception["type"],
                "exception.message": exception["message"],
                "exception.stacktrace": exception["traceback"],
            }
        number = next((n for level, n in _SEVERITIES if record.levelno >= level), None)
        return LogRecord(
            timestamp=int(record.created * 1e9),
            trace_id=trace_id,
            trace_flags=flags,
            severity_text=record.levelname,
            severity_number=number or SeverityNumber.DEBUG,
            body=fields.message(record),
            attributes=attributes,
        )
