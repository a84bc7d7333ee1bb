"""One record, one line, whatever is logged; and never a secret in it."""

import io
import json
import logging
import subprocess
import sys

import pytest

from credentials.secret import MASK, Secret
from hookline.telemetry.logs import MAX_ITEMS, MAX_TEXT_CHARS, configure_logs
from hookline.telemetry.redaction import Redactor
from schemas.errors import ConfigurationError
from schemas.request_id import current_request_id

CANARY = "c4nary-value-7f1c"
log = logging.getLogger("hookline.test")


class Output(io.StringIO):
    @property
    def lines(self):
        return [json.loads(line) for line in self.getvalue().splitlines()]

    @property
    def line(self):
        (line,) = self.lines
        return line


@pytest.fixture
def redactor():
    redactor = Redactor()
    redactor.register(Secret(CANARY))
    return redactor


@pytest.fixture
def output(redactor):
    stream = Output()
    configure_logs("DEBUG", "json", stream, redactor)
    return stream


@pytest.fixture
def text(redactor):
    stream = io.StringIO()
    configure_logs("DEBUG", "text", stream, redactor)
    return stream


class Broken:
    def __repr__(self):
        raise RuntimeError("no")

    def __str__(self):
        raise RuntimeError("no")

    def __hash__(self):
        return 1


class BrokenError(Exception):
    def __str__(self):
        raise RuntimeError("no")


def test_a_record_is_one_line_with_its_data_merged(output):
    log.info("Webhook refused", extra={"data": {"connection": "acme", "bytes": 12, "ok": None}})
    line = output.line
    ts = line.pop("ts")
    assert line == {
        "level": "INFO",
        "logger": "hookline.test",
        "msg": "Webhook refused",
        "connection": "acme",
        "bytes": 12,
        "ok": None,
    }
    assert len(ts) == len("2026-11-24T02:13:00.123Z")
    assert ts[10] == "T"
    assert ts[-5] == "."
    assert ts[-1] == "Z"


def test_the_time_is_utc_to_the_millisecond(output):
    record = logging.LogRecord("a", logging.INFO, "", 0, "m", None, None)
    record.created = 1_764_000_000.0625
    logging.getLogger().handle(record)
    assert output.line["ts"] == "2025-11-24T16:00:00.062Z"


def test_the_request_id_comes_from_the_context_or_from_the_record(output):
    token = current_request_id.set(b"\x01" * 16)
    try:
        log.info("a")
        log.info("b", extra={"request_id": b"\x02" * 16})
        log.info("c", extra={"request_id": "03" * 16})
    finally:
        current_request_id.reset(token)
    log.info("d")
    assert [line.get("request_id") for line in output.lines] == [
        "01" * 16,
        "02" * 16,
        "03" * 16,
        None,
    ]


def test_data_does_not_overwrite_what_every_line_has(output):
    log.info("real", extra={"data": {"msg": "other", "level": "x", "a": 1}})
    line = output.line
    assert (line["msg"], line["level"]) == ("real", "INFO")
    assert (line["data.msg"], line["data.level"], line["a"]) == ("other", "x", 1)


def test_an_exception_has_type_message_and_traceback(output):
    try:
        {}["missing"]
    except KeyError:
        log.exception("Failed")
    exception = output.line["exception"]
    assert exception["type"] == "KeyError"
    assert exception["message"] == "'missing'"
    assert exception["traceback"].startswith("Traceback (most recent call last):")
    assert "test_logs.py" in exception["traceback"]


def cyclic():
    value = {}
    value["self"] = value
    return value


def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "data",
    [
        {"a": object()},
        {"a": Broken()},
        {Broken(): 1},
        {("tuple", 1): {1, 2}},
        {"a": float("nan"), "b": float("inf"), "c": 10**5000, "d": -(10**30)},
        {"a": b"\xff\x00", "b": memoryview(b"x")},
        {"a": "\udc80 lone"},
        cyclic(),
        {"a": deep()},
        {"a": Secret("x")},
        "not a mapping",
        [1, 2],
        Broken(),
        {"a": BrokenError()},
        {"a": dict.fromkeys(range(10_000))},
    ],
    ids=lambda data: type(data).__name__,
)
def test_no_data_breaks_a_line(output, text, data, redactor):
    for form, stream in (("json", Output()), ("text", io.StringIO())):
        configure_logs("INFO", form, stream, redactor)
        log.info("Still here", extra={"data": data})
        assert "Still here" in stream.getvalue()
        assert "could not be formatted" not in stream.getvalue()
        assert stream.getvalue().count("\n") == 1
        assert len(stream.getvalue()) < 4 * MAX_TEXT_CHARS
        if form == "json":
            json.loads(stream.getvalue(), parse_constant=pytest.fail)


def test_long_data_is_cut_and_says_so(output):
    log.info("m", extra={"data": {"a": "x" * 1_000_000, "b": list(range(1000))}})
    line = output.line
    assert len(line["a"]) < MAX_TEXT_CHARS + 10
    assert "…" in line["a"]
    assert line["b"][-1] == "…"
    assert len(line["b"]) == MAX_ITEMS + 1


def test_wrong_arguments_are_shown_instead_of_raised(redactor, capsys):
    # Here and not in a fixture: pytest's own handler, which raises, is on the root by now.
    output = Output()
    configure_logs("INFO", "json", output, redactor)
    log.info("%d of %s", "many")
    log.info("%s", Broken())
    assert output.lines[0]["msg"] == "%d of %s ('many',)"
    assert output.lines[1]["msg"].startswith("%s")
    assert capsys.readouterr().err == ""


def test_a_closed_stream_stops_nothing_and_shows_nothing(output, capsys):
    output.close()
    log.error("lost %s", CANARY)
    assert capsys.readouterr().err == ""


def test_a_level_that_is_off_formats_nothing(redactor):
    class Counting:
        shown = 0

        def __str__(self):
            Counting.shown += 1
            return "x"

    stream = Output()
    configure_logs("INFO", "json", stream, redactor)
    log.debug("%s", Counting(), extra={"data": {"a": Counting()}})
    assert (Counting.shown, stream.getvalue()) == (0, "")


def test_libraries_that_tell_each_request_are_quiet_below_warning(output):
    logging.getLogger("httpx").info("HTTP Request: GET")
    logging.getLogger("urllib3.connectionpool").debug("Starting")
    logging.getLogger("urllib3.connectionpool").warning("Retrying")
    logging.getLogger("examples.orders").info("A handler's own line")
    assert [line["msg"] for line in output.lines] == ["Retrying", "A handler's own line"]


@pytest.mark.parametrize(("level", "form"), [("LOUD", "json"), ("INFO", "xml")])
def test_a_wrong_level_or_format_is_a_configuration_error(level, form, redactor):
    with pytest.raises(ConfigurationError, match="is none of"):
        configure_logs(level, form, io.StringIO(), redactor)


def test_a_text_line_reads_in_a_terminal(text):
    log.warning("Webhook refused", extra={"data": {"connection": "acme", "n": [1, 2]}})
    line = text.getvalue()
    assert line[2] == line[5] == ":"
    assert line.endswith(" WARNING  hookline.test Webhook refused connection=acme n=[1, 2]\n")


def test_data_cannot_forge_a_second_line_or_drive_a_terminal(text):
    log.info("a\nb\r\x1b[2J", extra={"data": {"k\n": "v\n2026 CRITICAL \x9b\u2028"}})
    line = text.getvalue()
    assert line.count("\n") == 1
    assert not set(line) & {"\r", "\x1b", "\x9b", "\u2028"}


def raise_with(value):
    local = value  # noqa: F841 - a traceback that showed locals would show it
    try:
        raise ValueError(f"inner {value}")
    except ValueError as error:
        raise RuntimeError(f"outer {value}") from error


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_registered_secret_is_in_no_log_line(form, redactor, capsys):
    stream = io.StringIO()
    configure_logs("DEBUG", form, stream, redactor)
    log.debug("message " + CANARY)
    log.debug("argument %s %r", CANARY, {"k": [CANARY]})
    log.debug("mapping %(a)s", {"a": CANARY})
    log.debug(CANARY.encode())
    log.debug("%d", CANARY)
    log.debug(
        "data", extra={"data": {"k": CANARY, CANARY: 1, "n": [{"k": (CANARY, CANARY.encode())}]}}
    )
    log.debug("object", extra={"data": {"k": ValueError(CANARY), "e": {CANARY}}})
    log.debug("whole", extra={"data": CANARY})
    log.debug("id", extra={"request_id": CANARY})
    log.debug(
        "long", extra={"data": {"k": "x" * (MAX_TEXT_CHARS // 2 - 5) + CANARY + "y" * 90_000}}
    )
    log.debug("stack", stack_info=True)
    try:
        raise_with(CANARY)
    except RuntimeError:
        log.exception("failed %s", CANARY)
    output = stream.getvalue() + "".join(capsys.readouterr())
    assert output.count(MASK) >= 14
    assert "c4nary" not in output
    assert "7f1c" not in output
    assert "could not be formatted" not in output


def test_a_number_that_is_a_registered_secret_is_masked(output, redactor):
    redactor.register(Secret("83719264"))
    log.info("m", extra={"data": {"pin": 83719264, "n": 1}})
    assert (output.line["pin"], output.line["n"]) == (MASK, 1)


def test_a_value_under_a_secret_s_name_is_masked(output):
    log.info("m", extra={"data": {"headers": {"X-Hub-Signature-256": "zz"}, "secret_name": "new"}})
    assert output.line["headers"] == {"X-Hub-Signature-256": MASK}
    assert output.line["secret_name"] == "new"


def test_uncaught_exceptions_and_warnings_of_a_process_are_redacted_lines():
    code = f"""
import sys, threading, warnings
from credentials.secret import Secret
from hookline.telemetry.logs import configure_logs
from hookline.telemetry.redaction import Redactor
redactor = Redactor()
redactor.register(Secret({CANARY!r}))
configure_logs("INFO", "json", sys.stderr, redactor)
value = "".join(({CANARY[:5]!r}, {CANARY[5:]!r}))
def fail():
    raise ValueError(value)
warnings.warn(value)
thread = threading.Thread(target=fail, name=value)
thread.start()
thread.join()
fail()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert CANARY not in done.stderr + done.stdout
    warning, in_thread, at_end = (json.loads(line) for line in done.stderr.splitlines())
    assert (warning["level"], warning["logger"]) == ("WARNING", "py.warnings")
    assert in_thread["msg"] == "An uncaught exception ends a thread"
    assert in_thread["thread"] == MASK
    assert in_thread["exception"]["message"] == MASK
    assert at_end["level"] == "CRITICAL"
    assert at_end["exception"]["message"] == MASK
