"""Log output of a process: one JSON line or one terminal line a record, redacted.

Nothing that is logged may break logging, and nothing leaves without passing the redactor.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, TextIO

from credentials.secret import MASK
from hookline.telemetry.redaction import SECRET_NAMES, Redactor
from hookline.telemetry.repeats import Repeats
from schemas.errors import ConfigurationError
from schemas.request_id import current_request_id

MAX_TEXT_CHARS: Final = 16_384
MAX_ITEMS: Final = 100
MAX_DEPTH: Final = 6

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMATS: Final = ("json", "text")

# Below WARNING these say what each request does, which our own records and spans say better.
# At DEBUG botocore writes whole answers, secrets too.
_CHATTY: Final = (
    "asyncio",
    "azure",
    "boto3",
    "botocore",
    "grpc",
    "httpcore",
    "httpx",
    "hvac",
    "msal",
    "opentelemetry",
    "urllib3",
)

_RESERVED: Final = frozenset({"ts", "level", "logger", "msg", "request_id", "exception", "stack"})


class Fields:
    """What both formatters write of a record, already redacted and bounded."""

    def __init__(self, redactor: Redactor, always: Mapping[str, Any] | None) -> None:
        self._redactor = redactor
        self._always = dict(always or {})

    def message(self, record: logging.LogRecord) -> str:
        try:
            text = record.getMessage()
        except Exception:
            # A wrong number of arguments, or one that cannot be shown.
            text = f"{_shown(record.msg)} {_shown(record.args)}"
        return self._text(text)

    def request_id(self, record: logging.LogRecord) -> str | None:
        data = getattr(record, "data", None)
        value = data.get("request_id") if isinstance(data, dict) else None
        if value is None:
            value = getattr(record, "request_id", None)
        if value is None:
            value = current_request_id.get()
        if value is None:
            return None
        return value.hex() if isinstance(value, bytes) else self._text(_shown(value))

    def data(self, record: logging.LogRecord) -> dict[str, Any]:
        value = getattr(record, "data", None)
        if value is None:
            return self._always
        if not isinstance(value, Mapping):
            return self._always | {"data": self._plain(value, 0)}
        plain: dict[str, Any] = self._always | self._plain(value, 0)
        plain.pop("request_id", None)  # It is the line's own.
        return {f"data.{key}" if key in _RESERVED else key: plain[key] for key in plain}

    def exception(self, record: logging.LogRecord) -> dict[str, str] | None:
        if not record.exc_info or record.exc_info[1] is None:
            return None
        kind, error, where = record.exc_info
        return {
            "type": type(error).__qualname__,
            "message": self._text(_shown(error)),
            "traceback": self.traceback(kind, error, where),
        }

    def traceback(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> str:
        try:
            text = "".join(traceback.format_exception(kind, error, where))
        except Exception as failure:
            text = f"the traceback cannot be shown ({type(failure).__name__})"
        return self._text(text.rstrip("\n"))

    def stack(self, record: logging.LogRecord) -> str | None:
        return self._text(record.stack_info) if record.stack_info else None

    def _text(self, text: str) -> str:
        # Cut only after redacting: half a secret at the cut would not be recognised.
        text = self._redactor.redact(text)
        if len(text) > MAX_TEXT_CHARS:
            half = MAX_TEXT_CHARS // 2
            text = f"{text[:half]} … {text[-half:]}"
        return text

    def _plain(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int | float):
            shown = _shown(value)
            text = self._text(shown)
            # Infinity and NaN are not JSON, and few readers take an integer beyond 64 bits.
            return value if text == shown and -(2**63) <= value < 2**64 else text
        if isinstance(value, bytes | bytearray | memoryview):
            return self._text(bytes(value).decode("utf-8", "backslashreplace"))
        if depth < MAX_DEPTH:
            try:
                if isinstance(value, Mapping):
                    return self._plain_mapping(value, depth)
                if isinstance(value, list | tuple | set | frozenset):
                    items = [item for item, _ in zip(value, range(MAX_ITEMS), strict=False)]
                    plain = [self._plain(item, depth + 1) for item in items]
                    return [*plain, "…"] if len(value) > MAX_ITEMS else plain
            except Exception:
                # A container whose own iteration fails, or that changes meanwhile.
                return self._text(_shown(value))
        elif isinstance(value, Mapping | list | tuple | set | frozenset):
            return "…"
        return self._text(_shown(value))

    def _plain_mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, item in value.items():
            if len(plain) == MAX_ITEMS:
                plain["…"] = f"{len(value) - MAX_ITEMS} more"
                break
            name = self._text(key if isinstance(key, str) else _shown(key))
            plain[name] = MASK if name.lower() in SECRET_NAMES else self._plain(item, depth + 1)
        return plain


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, logger, msg, request_id, then the record's data.

    `always` is data of every line.
    """

    def __init__(self, redactor: Redactor, always: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._fields = Fields(redactor, always)

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its line end; pure ASCII, so that any stream can take it."""
        line: dict[str, Any] = {
            "ts": _timestamp(record),
            "level": record.levelname,
            "logger": record.name,
            "msg": self._fields.message(record),
        }
        if (request_id := self._fields.request_id(record)) is not None:
            line["request_id"] = request_id
        line |= self._fields.data(record)
        if (exception := self._fields.exception(record)) is not None:
            line["exception"] = exception
        if (stack := self._fields.stack(record)) is not None:
            line["stack"] = stack
        return json.dumps(line, separators=(",", ":"))


class TextFormatter(logging.Formatter):
    """For a terminal: time, level, logger, message, key=value; a traceback below."""

    _COLOURS: Final = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m"}

    def __init__(
        self, redactor: Redactor, *, colour: bool, always: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self._fields = Fields(redactor, always)
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """The lines; only a traceback makes more than one, whatever the message holds."""
        level = f"{record.levelname:<8}"
        if self._colour and record.levelname in self._COLOURS:
            level = f"{self._COLOURS[record.levelname]}{level}\x1b[0m"
        time_of_day = _timestamp(record)[11:-1]
        words = [time_of_day, level, record.name, _one_line(self._fields.message(record))]
        if (request_id := self._fields.request_id(record)) is not None:
            words.append(f"request_id={request_id}")
        for key, value in self._fields.data(record).items():
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            words.append(f"{_one_line(key)}={_one_line(shown)}")
        line = " ".join(words)
        if (exception := self._fields.exception(record)) is not None:
            line += "\n" + _printable(exception["traceback"])
        if (stack := self._fields.stack(record)) is not None:
            line += "\n" + _printable(stack)
        return line


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines; when that fails it says nothing, as the standard one would show the args."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:
            line = json.dumps(
                {
                    "ts": _timestamp(record),
                    "level": record.levelname,
                    "logger": record.name,
                    "msg": "A log record could not be formatted",
                    "error": type(error).__qualname__,
                }
            )
        try:
            try:
                self.stream.write(line + "\n")
            except UnicodeEncodeError:
                self.stream.write(line.encode("ascii", "backslashreplace").decode() + "\n")
            self.flush()
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        # The reader of the log is gone or the disk is full: there is nowhere to say it.
        pass


def configure_logs(
    level: str,
    format: str,
    stream: TextIO,
    redactor: Redactor,
    always: Mapping[str, Any] | None = None,
) -> None:
    """Make `stream` this process's only log output; ConfigurationError for a wrong level or format.

    `always` is data of every line, such as which of several processes wrote it.

    Uncaught exceptions of any thread and Python warnings become log records too, since their
    usual way to stderr would pass the redactor by. Calling it again replaces what was.
    """
    level = level.upper()
    if level not in LEVELS:
        raise ConfigurationError(f"log level {level!r} is none of {', '.join(LEVELS)}")
    if format not in FORMATS:
        raise ConfigurationError(f"log format {format!r} is none of {', '.join(FORMATS)}")
    handler = _Handler(stream)
    handler.setFormatter(
        JsonFormatter(redactor, always)
        if format == "json"
        else TextFormatter(redactor, colour=stream.isatty(), always=always)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    kafka = logging.getLogger("hookline.kafka")
    kafka.filters[:] = [Repeats()]
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def _log_uncaught(
    kind: type[BaseException], error: BaseException, where: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("hookline").critical(
        "An uncaught exception ends the process", exc_info=(kind, error, where)
    )


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    logging.getLogger("hookline").critical(
        "An uncaught exception ends a thread",
        exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
        extra={"data": {"thread": args.thread.name if args.thread else ""}},
    )


def _timestamp(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__qualname__} that cannot be shown: {type(error).__name__}>"


# A control character in data could forge a second line or drive the terminal.
_CONTROLS: Final = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (9, 10)
}
_LINE_ENDS: Final = _CONTROLS | {10: "\\n", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def _one_line(text: str) -> str:
    return text.translate(_LINE_ENDS)


def _printable(text: str) -> str:
    return text.translate(_CONTROLS)
