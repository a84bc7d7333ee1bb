"""A broker that is away does not fill the log, and nothing that is new goes unsaid."""

from __future__ import annotations

import io
import logging

import pytest

from hookline.telemetry import repeats as repeats_module
from hookline.telemetry.logs import configure_logs
from hookline.telemetry.redaction import Redactor
from hookline.telemetry.repeats import Repeats

REFUSED = "FAIL [consumer-%d]: 10.0.0.%d:9092: Connection refused (after %dms)"


class Heard:
    def __init__(self) -> None:
        self.now_s = 1_000.0
        self._repeats = Repeats(lambda: self.now_s)

    def say(self, text: str, *values: object, level: int = logging.ERROR) -> str | None:
        """What of it is said."""
        record = logging.LogRecord("hookline.kafka", level, "", 0, text, values, None)
        return record.getMessage() if self._repeats.filter(record) else None


def test_the_same_line_is_said_once_in_a_while_and_then_how_often_it_was_not() -> None:
    heard = Heard()
    assert (
        heard.say(REFUSED, 1, 7, 0)
        == "FAIL [consumer-1]: 10.0.0.7:9092: Connection refused (after 0ms)"
    )
    for n in range(600):
        heard.now_s += 0.049
        assert heard.say(REFUSED, 1, 7, n) is None
    heard.now_s += 1
    assert str(heard.say(REFUSED, 1, 7, 3)).endswith("(and 600 times in the 30 s before)")
    assert heard.say(REFUSED, 1, 7, 3) is None
    heard.now_s += 3_600
    assert str(heard.say(REFUSED, 1, 7, 3)).endswith("(and 1 times in the 3600 s before)")


def test_another_line_or_level_is_said_at_once() -> None:
    heard = Heard()
    assert heard.say("SASL authentication failed")
    assert heard.say("Connection refused")
    assert heard.say("Connection refused", level=logging.WARNING)
    assert heard.say("Connection refused") is None


def test_what_it_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats_module, "MAX_LINES", 2)
    heard = Heard()
    assert [bool(heard.say(text)) for text in ("a", "b", "a", "c", "a", "b")] == [
        True, True, False, True, False, True,
    ]  # fmt: skip
    assert len(heard._repeats._said) == 2


def test_the_log_of_a_process_has_it_and_our_own_lines_are_all_said() -> None:
    stream = io.StringIO()
    configure_logs("info", "json", stream, Redactor())
    configure_logs("info", "json", stream, Redactor())
    for _ in range(5):
        logging.getLogger("hookline.kafka").error("FAIL: Connection refused")
        logging.getLogger("hookline.gateway").error("mine")
    lines = stream.getvalue().splitlines()
    assert sum("refused" in line for line in lines) == 1
    assert sum("mine" in line for line in lines) == 5
