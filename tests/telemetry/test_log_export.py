"""Log lines by OTLP: redacted, in the trace of their request, and only where they are asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from credentials.secret import Secret
from hookline.telemetry.log_export import LogExport
from hookline.telemetry.providers import Telemetry, configure_telemetry
from hookline.telemetry.redaction import Redactor
from schemas import request_id
from tests.telemetry.collector import CollectedLog, OtlpCollector

SECRET = "canary-0123456789"
REQUEST_ID = request_id.make(1_764_000_000_000, bytes(range(1, 11)))


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as running:
        yield running


def exported(
    collector: OtlpCollector, environ: dict[str, str], ratio: float = 1.0
) -> tuple[Telemetry, logging.Logger | None]:
    """A process's telemetry, and a logger whose records it exports, if it does."""
    redactor = Redactor()
    redactor.register(Secret(SECRET))
    telemetry = configure_telemetry(
        "test", ratio, {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint} | environ, redactor
    )
    if telemetry.logger_provider is None:
        return telemetry, None
    logger = logging.Logger("hookline.test")
    always = {"worker": 2}
    bound = telemetry.sampling_bound
    logger.addHandler(LogExport(telemetry.logger_provider, redactor, bound, always))
    return telemetry, logger


ASKED = {"OTEL_LOGS_EXPORTER": "otlp"}


def one(collector: OtlpCollector, telemetry: Telemetry) -> CollectedLog:
    assert telemetry.shutdown(10.0)
    (record,) = collector.logs()
    return record


def test_a_line_is_in_the_trace_of_its_request(collector: OtlpCollector) -> None:
    telemetry, logger = exported(collector, ASKED)
    assert logger is not None
    data = {"connection": "shop", "steps": {"verify_ms": 0.1}}
    logger.warning("refused", extra={"request_id": REQUEST_ID.hex(), "data": data})
    record = one(collector, telemetry)
    assert (record.trace_id, record.flags) == (REQUEST_ID.hex(), 1)
    assert (record.severity, record.body, record.scope) == ("WARNING", "refused", "hookline.test")
    assert record.attributes["hookline.request_id"] == REQUEST_ID.hex()
    assert (record.attributes["connection"], record.attributes["worker"]) == ("shop", 2)


def test_of_a_request_that_is_not_sampled_it_says_so(collector: OtlpCollector) -> None:
    telemetry, logger = exported(collector, ASKED, ratio=0.0)
    assert logger is not None
    logger.info("accepted", extra={"request_id": REQUEST_ID.hex()})
    record = one(collector, telemetry)
    assert (record.trace_id, record.flags) == (REQUEST_ID.hex(), 0)


def test_an_id_that_is_none_is_kept_as_text(collector: OtlpCollector) -> None:
    telemetry, logger = exported(collector, ASKED)
    assert logger is not None
    logger.info("odd", extra={"request_id": "not-an-id"})
    record = one(collector, telemetry)
    assert record.trace_id.strip("0") == ""
    assert record.attributes["hookline.request_id"] == "not-an-id"


def test_no_secret_leaves(collector: OtlpCollector) -> None:
    telemetry, logger = exported(collector, ASKED)
    assert logger is not None
    try:
        raise ValueError(f"with {SECRET}")
    except ValueError:
        logger.exception(f"failed with {SECRET}", extra={"data": {"token": "x" * 20, SECRET: 1}})
    record = one(collector, telemetry)
    assert "failed with" in record.body
    assert record.attributes["exception.type"] == "ValueError"
    assert SECRET.encode() not in collector.raw()
    assert b"x" * 20 not in collector.raw()


def test_a_record_that_cannot_be_shown_breaks_nothing(collector: OtlpCollector) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

    telemetry, logger = exported(collector, ASKED)
    assert logger is not None
    logger.info("%s and %s", Odd(), extra={"data": {"odd": Odd(), "deep": [[[[[[[[]]]]]]]]}})
    assert telemetry.shutdown(10.0)


def test_lines_stay_at_home_unless_they_are_asked_for(collector: OtlpCollector) -> None:
    telemetry, logger = exported(collector, {})
    assert logger is None
    assert telemetry.shutdown(10.0)


def test_their_own_endpoint_asks_for_them(collector: OtlpCollector) -> None:
    own = {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{collector.endpoint}/v1/logs"}
    telemetry, logger = exported(collector, own)
    assert logger is not None
    logger.info("here")
    assert one(collector, telemetry).body == "here"
