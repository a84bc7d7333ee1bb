"""`hookline probe` against a real gateway, consumer and log: the answer, the effect, the times."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner, Result

from hookline import Handlers
from hookline.commands.probe import command
from hookline.probe.making import probe
from producer.providers.provider import Outgoing
from producer.providers.registry import PROVIDERS, build
from schemas.errors import ConfigurationError
from schemas.probe import is_probe
from tests.commands.execution_rows import execution, write
from tests.end_to_end.posting import CONNECTION, SECRET
from tests.end_to_end.running import ROOT, Running, until
from tests.parts.kafka import KafkaBroker
from tests.parts.process import Process, free_port

HMAC: dict[str, Any] = {
    "header": "X-Signature",
    "event_id": "body:/meta/event",
    "event_type": "body:/meta/kind",
    "resource_id": "body:/thing/id",
}


@pytest.fixture(scope="module")
def running(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = {
        "topics": {"executions": kafka.create_topic(f"executions-{os.getpid()}", 4)},
        # Nothing is kept of what works, but probes.
        "telemetry": {"executions": {"sample": "some", "one_in": 1_000_000, "slow_ms": 60_000}},
        # Its only handler is for everything, and has an effect.
        "consumer": {"handlers": "hookline.demo.handlers:handlers"},
    }
    folder: Path = tmp_path_factory.mktemp("probe")
    environ = {"ACME_SHOP_SECRET": SECRET}
    with Running(
        kafka, folder, connections=[CONNECTION], environ=environ, settings=settings
    ) as started:
        yield started


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_SHOP_SECRET", SECRET)


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["--config", str(config), "--once", *arguments])


def probed(config: Path, *arguments: str) -> dict[str, Any]:
    result = run(config, "--json", *arguments)
    assert SECRET not in result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found | {"exit_code": result.exit_code}


@pytest.mark.kafka
def test_a_probe_is_answered_and_done_and_no_handler_gets_it(running: Running) -> None:
    found = probed(running.config)
    assert (found["outcome"], found["status"], found["exit_code"]) == ("ok", 200, 0)
    assert found["effect"]["outcome"] == "unhandled"
    assert found["effect"]["group"] == running.settings["consumer"]["group"]
    steps = found["steps_ms"]
    assert set(steps) == {"dns", "connect", "tls", "network", "server"}
    assert steps["server"] == found["server_ms"]["total"] > 0
    assert steps["connect"] > 0 == steps["tls"]
    assert found["round_trip_ms"] >= steps["server"] + steps["network"] + steps["connect"]
    assert found["request_id"] in running.logs()
    # The handler of `*` makes this table with its first effect.
    with sqlite3.connect(running.store) as store:
        tables = store.execute("SELECT name FROM sqlite_master WHERE name = 'demo_effects'")
        assert tables.fetchall() == []


@pytest.mark.kafka
def test_people_see_the_servers_figures_beside_their_own(running: Running) -> None:
    result = run(running.config)
    assert result.exit_code == 0
    assert "acme-shop: 200 in" in result.output
    assert "server" in result.output
    assert "network" in result.output
    assert "effect: unhandled in group" in result.output


@pytest.mark.kafka
def test_a_wrong_secret_is_refused_and_the_next_step_is_named(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_SHOP_SECRET", "whsec_" + "d3Jvbmctc2VjcmV0LW9mLXRoZS10ZXN0cw==")
    result = run(running.config)
    assert result.exit_code == 1
    assert "acme-shop: 401" in result.output
    assert "refused: hookline trace " in result.output


@pytest.mark.kafka
def test_no_effect_in_time_is_a_failure(running: Running) -> None:
    config = changed(running, {"effect_within_ms": 500}, {"group": "nobody-is-in-it"})
    found = probed(config)
    assert (found["outcome"], found["exit_code"], found["effect"]) == ("no_effect", 1, None)
    assert "is a consumer running" in run(config).output
    assert probed(config, "--effect", "none")["outcome"] == "ok"


@pytest.mark.kafka
def test_a_log_that_cannot_be_read_leaves_the_answer(running: Running) -> None:
    config = changed(running, {}, {}, {"executions": "not-there"})
    found = probed(config)
    assert (found["outcome"], found["status"], found["exit_code"]) == ("unseen", 200, 1)
    assert "hookline topics apply" in found["problem"]


def changed(running: Running, probe: Any, consumer: Any, topics: Any = None) -> Path:
    settings = dict(running.settings)
    settings["probe"] = probe
    settings["consumer"] = {**settings["consumer"], **consumer}
    settings["topics"] = {**settings["topics"], **(topics or {})}
    path = running.folder / "changed.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.mark.kafka
def test_a_probe_that_fails_is_a_failure(running: Running, kafka: KafkaBroker) -> None:
    """What answers like a gateway, and an execution that says that it is parked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request_id = os.urandom(16)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("X-Request-ID", request_id.hex())
            self.send_header("Content-Length", "0")
            self.end_headers()
            group = running.settings["consumer"]["group"]
            topic = running.settings["topics"]["executions"]
            row = execution(request_id, group=group, outcome="parked", reason="exhausted")
            write(kafka, topic, [row])

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    found = probed(running.config, "--url", url)
    server.shutdown()
    assert (found["outcome"], found["effect"]["outcome"]) == ("failed", "parked")


@pytest.mark.kafka
def test_on_a_schedule_it_tells_its_metrics(running: Running) -> None:
    port = free_port()
    config = changed(running, {"listen": f"127.0.0.1:{port}", "every_s": 1}, {})
    environ = {**os.environ, "ACME_SHOP_SECRET": SECRET}
    process = Process(
        [sys.executable, "-m", "hookline.command", "probe", "--config", str(config)],
        running.folder / "probe.log",
        cwd=ROOT,
        environ=environ,
    )

    def text() -> str:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/metrics").text
        except httpx.TransportError:
            return ""

    counted = 'hookline_probes_total{connection="acme-shop",outcome="ok"}'
    until(lambda: any(line.startswith(f"{counted} 3") for line in text().splitlines()))
    page = text()
    for name in (
        "hookline_probe_round_trip_seconds_bucket",
        "hookline_probe_effect_seconds_bucket",
        'hookline_probe_step_seconds{connection="acme-shop",step="server"}',
        'hookline_probe_success_timestamp_seconds{connection="acme-shop"}',
    ):
        assert name in page
    assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    assert process.stop() == 0
    lines = [json.loads(line) for line in process.log_path.read_text().splitlines()]
    assert next(line for line in lines if line["msg"] == "probe: ok")["request_id"]
    assert SECRET not in process.log_path.read_text()


def test_nobody_there_is_said(tmp_path: Path) -> None:
    config = tmp_path / "hookline.yaml"
    settings = {
        "connections": [CONNECTION],
        "probe": {"url": f"http://127.0.0.1:{free_port()}", "effect": "none"},
    }
    config.write_text(yaml.safe_dump(settings))
    found = probed(config)
    assert (found["outcome"], found["error"], found["exit_code"]) == (
        "unreachable",
        "ConnectError",
        1,
    )
    assert "is the gateway reachable from here" in run(config).output


def made(provider: str, options: dict[str, Any], secret: str) -> Outgoing:
    built = build(provider, options)
    return probe(
        "acme",
        built,
        PROVIDERS[provider].Options.model_validate(options),
        built.load_key(secret),
        event_id="probe_1",
        number=7,
        now_s=time.time(),
    )


@pytest.mark.parametrize(
    ("provider", "options", "secret"),
    [
        ("standard_webhooks", {}, SECRET),
        ("github", {}, "a-secret-of-github"),
        ("stripe", {}, "whsec_of-stripe"),
        ("hmac", HMAC, "a-secret-of-hmac"),
        (
            "hmac",
            {**HMAC, "event_type": "header:X-Type", "event_id": "header:X-Id"},
            "a-secret-of-hmac",
        ),
        ("token", {**HMAC, "scheme": "header", "header": "X-Token"}, "a-secret-token-of-the-test"),
    ],
)
def test_providers_that_can_carry_a_probe(
    provider: str, options: dict[str, Any], secret: str
) -> None:
    # Made means that its own rules read the type from it.
    assert made(provider, options, secret).body


@pytest.mark.parametrize(
    ("provider", "options", "secret"),
    [
        ("hmac", {**HMAC, "event_type": "literal:order"}, "a-secret-of-hmac"),
        ("slack", {}, "a-secret-of-slack-a-secret-of-slack"),
    ],
)
def test_others_say_how_a_connection_for_probes_is_made(
    provider: str, options: dict[str, Any], secret: str
) -> None:
    with pytest.raises(ConfigurationError, match="id: hookline-probe"):
        made(provider, options, secret)


def test_no_pattern_takes_a_probe_and_its_name_does() -> None:
    handlers = Handlers()

    @handlers.on("*", "github.*", "github.hookline.*")
    def everything(event: Any) -> None: ...

    assert handlers.find("github.push") is not None
    assert handlers.find("github.hookline.probe") is None
    assert is_probe("github.hookline.probe")
    assert not is_probe("github.hookline.probed")
    assert not is_probe("hookline.probe")

    @handlers.on("github.hookline.probe")
    def named(event: Any) -> None: ...

    found = handlers.find("github.hookline.probe")
    assert found is not None
    assert found.function is named
