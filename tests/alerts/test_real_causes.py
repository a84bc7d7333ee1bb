"""Alerts from real causes: real processes on a real Kafka, the packaged rules with short windows,
and a real Prometheus that scrapes the same processes with the rule file made of the same rules.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import NamedTuple

import httpx
import pytest
import yaml
from standardwebhooks import Webhook

from consumer.monitor.alerts.promql import rule_file
from consumer.monitor.alerts.rules import load_rules
from consumer.monitor.dashboards.boards import BOARDS
from hookline.commands.samples import sample
from producer.providers.registry import build
from tests.alerts.receivers import WebhookReceiver
from tests.end_to_end.running import Running, until
from tests.parts.kafka import KafkaBroker
from tests.parts.process import free_port
from tests.parts.prometheus import PrometheusServer, promtool

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.prometheus,
    pytest.mark.usefixtures("promtool_there"),
    pytest.mark.timeout(600),
]

SECRET = "a-secret-of-the-alerts-tests"
SIGNING = "whsec_YS1zZWNyZXQtb2YtdGhlLWFsZXJ0cy10ZXN0cw=="
PACKAGED = files("consumer.monitor.alerts").joinpath("default_rules.yaml").read_text("utf-8")


def shortened() -> str:
    """The packaged rules with windows of seconds, and bounds that go with them."""
    text = re.sub(r"over: (5|10)m", "over: 8s", PACKAGED)
    text = re.sub(r"over: (30m|1h)", "over: 15s", text)
    text = re.sub(r"\n    for: \w+", "\n    for: 1s", text)
    text = re.sub(r"\n    keep_firing_for: \w+", "", text)
    text = re.sub(r"\n    summary:", "\n    keep_firing_for: 2s\n    summary:", text)
    rules, _, _ = text.partition("\nobjectives:")
    for name, old, new in (
        ("HooklineLag", "above: 120", "above: 3"),
        ("HooklineConnectionSilent", "above: 900", "above: 5"),
        ("HooklineSpoolOld", "above: 900", "above: 4"),
        ("HooklineUnknownConnections", "above: 50", "above: 5"),
        ("HooklineConsumerStalled", "below: 1", "below: 0.5"),
    ):
        before, head, after = rules.partition(f"- name: {name}\n")
        rules = before + head + after.replace(old, new, 1)
    return rules


class Stage(NamedTuple):
    """What runs."""

    broker: KafkaBroker
    running: Running
    receiver: WebhookReceiver
    prometheus: PrometheusServer
    mood: Path
    monitor_port: int

    def send(
        self, n: int = 1, *, connection: str = "acme", secret: str = SECRET, body: bytes = b""
    ) -> list[int]:
        """The answers to so many signed webhooks."""
        github = build("github", {})
        statuses = []
        for _ in range(n):
            made = sample("github", Random(), time.time())
            assert made is not None
            content = body or made.body
            headers = github.sign(
                content,
                github.load_key(secret),
                event_id=made.event_id,
                event_type=made.event_type,
                now_s=time.time(),
            )
            url = f"{self.running.url}/webhooks/{connection}"
            statuses.append(httpx.post(url, content=content, headers=dict(headers)).status_code)
        return statuses


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("alerts")
    mood = folder / "mood"
    mood.write_text("")
    (folder / "rules.yaml").write_text(shortened())
    monitor_port = free_port()
    soon = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    connections = [
        {"id": name, "tenant": "t", "provider": "github", "secrets": [secret]}
        for name, secret in (
            ("acme", {"name": "s", "ref": "env:ALERTS_SECRET"}),
            ("ending", {"name": "s", "ref": "env:ALERTS_SECRET", "not_after": soon}),
            ("lacking", {"name": "s", "ref": f"file:{folder / 'lacking'}"}),
        )
    ]
    with KafkaBroker() as broker, WebhookReceiver() as receiver:
        settings = {
            "spool": {"path": str(folder / "spool.db")},
            "topics": {
                "executions": broker.create_topic("executions", 1),
                "dead_letters": broker.create_topic("dead-letters", 1),
            },
            "consumer": {
                "handlers": "tests.alerts.real_handlers:handlers",
                "retry": {"initial_ms": 50, "max_ms": 200, "budget_ms": 500},
                "parking": {"initial_ms": 500, "max_ms": 1_000, "scan_ms": 500},
            },
        }
        environ = {
            "ALERTS_SECRET": SECRET,
            "ALERTS_SIGNING": SIGNING,
            "ALERTS_URL": receiver.url,
            "HANDLERS_MOOD": str(mood),
        }
        running = Running(
            broker, folder, connections=connections, environ=environ, settings=settings
        )
        places = {
            "hookline-gateway": [f"127.0.0.1:{running.gateway_port}"],
            "hookline-consumer": [f"127.0.0.1:{running.health_port}"],
        }
        running.settings["monitor"] = {
            "store": f"sqlite:///{folder / 'monitor.db'}",
            "listen": f"127.0.0.1:{monitor_port}",
            "scrape": [{"job": job, "targets": targets} for job, targets in places.items()],
            "alerts": {
                "rules": str(folder / "rules.yaml"),
                "every_ms": 500,
                "wait_ms": 0,
                "interval_ms": 0,
                "webhooks": [
                    {"name": "test", "url": "env:ALERTS_URL", "secrets": ["env:ALERTS_SIGNING"]}
                ],
            },
        }
        running.config.write_text(yaml.safe_dump(running.settings))
        (folder / "prometheus.yaml").write_text(
            rule_file(load_rules(folder / "rules.yaml"), "docs/alerts.md")
        )
        places["hookline-monitor"] = [f"127.0.0.1:{monitor_port}"]
        prometheus = PrometheusServer(places, [folder / "prometheus.yaml"], every="500ms")
        with running, prometheus:
            running.start("monitor")
            running.wait_ready("monitor", monitor_port)
            yield Stage(broker, running, receiver, prometheus, mood, monitor_port)


def in_time(stage: Stage, rule: str, began_s: float, *, ends: bool = True) -> None:
    """It fires, at the receiver and in Prometheus, and (`ends`) both say that it is over."""
    until(lambda: stage.receiver.when(rule, "firing") is not None, 60)
    fired_s = stage.receiver.when(rule, "firing")
    assert fired_s is not None
    print(f"{rule}: told {max(0.0, fired_s - began_s):.1f} s after its cause")
    if not ends:
        until(lambda: _fires(stage, rule), 30)
        return
    until(lambda: stage.receiver.when(rule, "resolved") is not None, 90)
    until(lambda: not _fires(stage, rule), 30)


def _fires(stage: Stage, rule: str) -> bool:
    return any(
        alert["labels"]["alertname"] == rule and alert["state"] == "firing"
        for alert in stage.prometheus.alerts()
    )


def test_a_secret_that_ends_and_one_that_is_lacking(stage: Stage) -> None:
    began_s = time.monotonic()
    in_time(stage, "HooklineSecretExpiring", began_s, ends=False)
    in_time(stage, "HooklineConnectionNotServed", began_s, ends=False)

    def told() -> bool:
        # For as long as it takes: one burst may fall between two looks of a busy machine.
        assert set(stage.send(20, connection="lacking")) == {503}
        return stage.receiver.when("HooklineGatewayErrors", "firing") is not None and _fires(
            stage, "HooklineGatewayErrors"
        )

    until(told, 60)
    in_time(stage, "HooklineGatewayErrors", began_s, ends=False)


def test_a_wrong_secret_and_a_scan(stage: Stage) -> None:
    stage.send(3)
    time.sleep(1.5)
    began_s = time.monotonic()
    for _ in range(4):
        assert set(stage.send(8, secret="another")) == {401}
        assert set(stage.send(5, connection="nobody")) == {404}
        time.sleep(0.6)
    for rule in (
        "HooklineNothingVerifies",
        "HooklineSignaturesRefused",
        "HooklineUnknownConnections",
    ):
        in_time(stage, rule, began_s)


def test_what_cannot_be_read(stage: Stage) -> None:
    began_s = time.monotonic()
    for _ in range(4):
        assert stage.send(2, body=b"no json") == [200, 200]
        time.sleep(0.6)
    in_time(stage, "HooklineQuarantined", began_s)


def test_a_handler_that_fails_parks_and_gives_up(stage: Stage) -> None:
    began_s = time.monotonic()
    stage.mood.write_text("fail")
    stage.send(10)
    in_time(stage, "HooklineEventErrors", began_s, ends=False)
    in_time(stage, "HooklineKeysParked", began_s, ends=False)
    stage.mood.write_text("")
    in_time(stage, "HooklineKeysParked", began_s)
    in_time(stage, "HooklineEventErrors", began_s)
    stage.mood.write_text("permanent")
    stage.send(3)
    in_time(stage, "HooklineDeadLetters", time.monotonic(), ends=False)
    stage.mood.write_text("")
    in_time(stage, "HooklineDeadLetters", time.monotonic())


def test_a_slow_handler(stage: Stage) -> None:
    began_s = time.monotonic()
    stage.mood.write_text("slow")
    stage.send(5)
    in_time(stage, "HooklineLag", began_s, ends=False)
    stage.mood.write_text("")
    in_time(stage, "HooklineLag", began_s)


def test_a_silent_connection(stage: Stage) -> None:
    for _ in range(60):
        stage.send(1)
        time.sleep(0.1)
    in_time(stage, "HooklineConnectionSilent", time.monotonic(), ends=False)
    for _ in range(3):
        stage.send(1)
    in_time(stage, "HooklineConnectionSilent", time.monotonic())


def test_kafka_away(stage: Stage) -> None:
    began_s = time.monotonic()
    stage.broker.kill()
    deadline_s = time.monotonic() + 20
    while stage.receiver.when("HooklineSpoolInUse", "firing") is None:
        assert time.monotonic() < deadline_s
        stage.send(1)
    in_time(stage, "HooklineSpoolInUse", began_s, ends=False)
    in_time(stage, "HooklineSpoolOld", began_s, ends=False)
    stage.broker.start()
    in_time(stage, "HooklineSpoolInUse", began_s)
    in_time(stage, "HooklineSpoolOld", began_s)


def test_a_process_that_is_killed(stage: Stage) -> None:
    began_s = time.monotonic()
    stage.running.processes["consumer"].kill()
    in_time(stage, "HooklineProcessDown", began_s, ends=False)
    stage.running.start("consumer")
    in_time(stage, "HooklineProcessDown", began_s)


def test_every_message_is_signed_and_names_its_runbook_and_no_secret(stage: Stage) -> None:
    assert stage.receiver.received
    for _, headers, body in stage.receiver.received:
        Webhook(SIGNING).verify(body, headers)
    everything = stage.running.logs() + str(stage.receiver.received)
    for secret in (SECRET, SIGNING[6:], "secret-path"):
        assert secret not in everything


def test_every_panel_of_every_dashboard_has_data(stage: Stage) -> None:
    stage.mood.write_text("fail")
    stage.send(5)
    stage.mood.write_text("")
    stage.send(5)
    stage.send(2, secret="another")
    until(lambda: bool(stage.prometheus.query("hookline_dead_letters_kept")), 60)
    empty: list[str] = []

    def look() -> bool:
        empty.clear()
        for board in BOARDS:
            for panel in board.panels:
                for query in panel.queries:
                    asked = query.promql.replace("$__rate_interval", "1m")
                    if not stage.prometheus.query(asked.replace("$connection", ".+")):
                        empty.append(f"{board.name}, {panel.title}: {asked}")
        return not empty

    until(look, 60)
    assert empty == []


def test_promtool_finds_nothing_wrong_with_the_metrics(stage: Stage) -> None:
    for port in (stage.running.gateway_port, stage.running.health_port, stage.monitor_port):
        page = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        done = promtool("check", "metrics", stdin=page.encode())
        said = (done.stdout + done.stderr).splitlines()
        ours = [line for line in said if "hookline_" in line]
        assert ours == [], ours
