"""`hookline top`: what pages say of rates and quantiles, and a real run of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from hookline.commands.top import Watch, command
from hookline.processes.health_server import HealthServer
from hookline.top.figures import figures
from hookline.top.pages import WINDOW_S, Window, Windows, parse
from hookline.top.screen import screen
from schemas.errors import ConfigurationError
from tests.end_to_end.posting import CONNECTION, SECRET, post
from tests.end_to_end.running import Running, until
from tests.parts.kafka import KafkaBroker
from tests.parts.process import free_port


def counted(value: float, outcome: str = "accepted", connection: str = "acme") -> str:
    labels = f'connection="{connection}",outcome="{outcome}"'
    return f"# TYPE hookline_webhooks counter\nhookline_webhooks_total{{{labels}}} {value}\n"


def windows(*pages: list[tuple[float, str]]) -> Windows:
    made = Windows()
    for looks in pages:
        window = Window()
        for at_s, text in looks:
            window.add(at_s, parse(text))
        made.append(window)
    return made


def test_a_rate_is_of_the_window_and_summed_over_processes() -> None:
    both = windows(
        [(0, counted(100)), (5, counted(150))],
        [(1, counted(0)), (6, counted(25))],
    )
    assert both.rate("hookline_webhooks_total", "outcome") == {("accepted",): 15.0}
    assert both.total("hookline_webhooks_total") == {(): 175.0}


def test_what_is_older_than_the_window_is_forgotten() -> None:
    looks = [(float(n), counted(n * 10 if n > 5 else 0)) for n in range(40)]
    (window,) = windows(looks)
    ((_, rate),) = window.increases("hookline_webhooks_total")
    assert rate == 10.0
    assert len(window._pages) <= WINDOW_S + 2


def test_a_process_that_began_anew_counts_from_nothing() -> None:
    again = windows([(0, counted(1000)), (10, counted(50))])
    assert again.rate("hookline_webhooks_total") == {(): 5.0}


def test_one_page_says_no_rate_and_silence_forgets() -> None:
    (window,) = windows([(0, counted(100))])
    assert list(window.increases("hookline_webhooks_total")) == []
    window.away()
    assert list(window.values("hookline_webhooks_total")) == []


def histogram(*counts: int) -> str:
    bounds = ("0.1", "0.2", "0.4", "+Inf")
    lines = ["# TYPE seconds histogram"]
    lines += [f'seconds_bucket{{le="{b}"}} {n}' for b, n in zip(bounds, counts, strict=True)]
    return "\n".join([*lines, f"seconds_count {counts[-1]}", "seconds_sum 1"]) + "\n"


def test_quantiles_are_of_the_window_alone() -> None:
    # Before: a thousand slow ones. Within: 10 below 0.1, 10 to 0.2.
    of = windows([(0, histogram(0, 0, 0, 1000)), (10, histogram(10, 20, 20, 1020))])
    assert of.quantile("seconds", 0.5) == pytest.approx(0.1)
    assert of.quantile("seconds", 0.75) == pytest.approx(0.15)
    assert of.quantile("seconds", 1.0) == pytest.approx(0.2)
    beyond = windows([(0, histogram(0, 0, 0, 0)), (10, histogram(0, 0, 0, 7))])
    assert beyond.quantile("seconds", 0.5) == 0.4
    quiet = windows([(0, histogram(1, 2, 3, 4)), (10, histogram(1, 2, 3, 4))])
    assert quiet.quantile("seconds", 0.5) is None


def test_what_connections_are_called_is_no_markup() -> None:
    page = counted(9, connection="[red]x[/nope]") + "hookline_publish_in_flight 1\n"
    of = figures(windows([(0, "hookline_publish_in_flight 1\n"), (1, page)]))
    console = Console(width=120, record=True, file=None)
    with console.capture() as captured:
        console.print(screen(of, {}))
    assert "[red]x[/nope]" in captured.get()


@pytest.fixture(scope="module")
def running(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("top")
    settings = {
        "consumer": {
            "handlers": "tests.end_to_end.failing_handlers:handlers",
            "retry": {"initial_ms": 10, "max_ms": 20, "budget_ms": 100},
        }
    }
    with Running(
        kafka,
        folder,
        connections=[CONNECTION],
        environ={"ACME_SHOP_SECRET": SECRET},
        settings=settings,
    ) as started:
        yield started


@pytest.mark.kafka
def test_a_run_is_seen_as_it_goes(running: Running) -> None:
    urls = [running.url, f"http://127.0.0.1:{running.health_port}"]
    with Watch(urls) as watch:
        watch.look()
        for what in ("works", "works", "works", "never", "wrong"):
            assert post(running.url, what).status_code == 200
        assert post(running.url, secret="whsec_d3Jvbmctc2VjcmV0LW9m").status_code == 401

        def parked() -> bool:
            now, _ = watch.look()
            return now.consumer is not None and now.consumer.parked_keys == 1

        until(parked)
        time.sleep(0.2)
        now, trouble = watch.look()
    assert set(trouble.values()) == {""}
    assert now.gateway is not None
    assert now.consumer is not None
    (connection,) = now.gateway.connections
    assert connection.connection == "acme-shop"
    assert connection.accepted > connection.refused > 0
    assert now.gateway.answered.p50_s is not None
    assert now.consumer.by_outcome["applied"] > 0
    assert now.consumer.retries > 0
    assert now.consumer.parked_events == 1
    assert now.consumer.commit.p99_s is not None


@pytest.mark.kafka
def test_once_is_for_people_and_for_scripts(running: Running) -> None:
    result = CliRunner().invoke(command, ["--config", str(running.config), "--once"])
    assert result.exit_code == 0, result.output
    for text in ("GATEWAY", "CONSUMER", "acme-shop", "parked events 1, of keys 1", "lag"):
        assert text in result.output
    result = CliRunner().invoke(command, ["--config", str(running.config), "--once", "--json"])
    shown = json.loads(result.stdout)
    assert shown["consumer"]["parked_keys"] == 1
    assert shown["targets"] == dict.fromkeys(shown["targets"], "")


@pytest.mark.kafka
def test_one_that_is_away_is_named_and_the_others_are_shown(running: Running) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    arguments = ["--once", "--target", running.url, "--target", nobody]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    assert f"http://{nobody} does not answer: ConnectError" in result.output
    assert "GATEWAY" in result.output
    assert "CONSUMER" not in result.output


def test_something_else_that_answers_is_no_page_of_metrics() -> None:
    def well() -> tuple[bool, str]:
        return True, ""

    with HealthServer("127.0.0.1", 0, live=well, ready=well, metrics=lambda: b"<html>") as server:
        result = CliRunner().invoke(command, ["--once", "--target", f"127.0.0.1:{server.port}"])
    assert result.exit_code == 1
    assert "no page of metrics" in result.output
    assert "no gateway and no consumer answers" in result.output


def test_wrong_arguments_say_what_to_write() -> None:
    for arguments in (["--target", "ftp://x"], ["--target", "http://"], ["--json"]):
        result = CliRunner().invoke(command, arguments)
        assert isinstance(result.exception, ConfigurationError), arguments
