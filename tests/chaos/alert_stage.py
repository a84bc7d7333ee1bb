"""Kafka, two gateways, a consumer, a monitor that tells a receiver, and webhooks that keep coming.

What the alerts' causes are done to (`alert_acts`). All are real processes but the Vault, which is
the tests' own small one: it passes the suite that a real one passes.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from hookline.commands.samples import sample
from producer.providers.registry import build
from tests.alerts.receivers import WebhookReceiver
from tests.chaos.outage import MutedBroker
from tests.chaos.scaled_rules import scaled_rules
from tests.credentials.vault_standin import VaultStandIn
from tests.end_to_end.running import ROOT, Running
from tests.parts.process import Process, free_port

SECRET: Final = "a-secret-of-the-alerts-run"
ANOTHER: Final = "what-somebody-else-signs-with"
_SIGNING: Final = "whsec_YS1zZWNyZXQtb2YtdGhlLWFsZXJ0cy10ZXN0cw=="
_WEEK_S, _DAY_S = 7 * 86_400, 86_400
#: The secrets that end come to their alerts' bounds so long after everything has begun.
_ENDS_AFTER_S: Final = 45.0
_IN_FLIGHT: Final = 200


class AlertStage:
    """In a `with`; durations of settings are divided by `factor`, as those of the rules are."""

    def __init__(self, folder: Path, factor: float) -> None:
        self.folder = folder
        self.factor = factor
        self.mood = folder / "mood"
        self.rewritten = folder / "shop-secret"
        self.missing = folder / "late-secret"
        self.broker = MutedBroker()
        self.receiver = WebhookReceiver()
        self.vault = VaultStandIn()
        self.running: Running
        self.crew: Process
        #: By connection and status; 0 is no answer.
        self.answers: Counter[tuple[str, int]] = Counter()
        self.ends_s: dict[str, float] = {}
        self.programs = {"monitor": ["tests.chaos.scaled_monitor", str(factor)]}
        self._commands: list[Process] = []
        self._loop = asyncio.new_event_loop()
        self._parts = ExitStack()

    def __enter__(self) -> AlertStage:
        self.mood.write_text("")
        self.rewritten.write_text(SECRET)
        (self.folder / "rules.yaml").write_text(scaled_rules(self.factor))
        with ExitStack() as parts:
            parts.enter_context(self.broker)
            parts.enter_context(self.receiver)
            parts.enter_context(self.vault)
            role_id, secret_id = self.vault.new_secret_id()
            self.vault.write("alerts", {"key": SECRET})
            self._environ = {
                **{k: v for k, v in os.environ.items() if not k.startswith(("HOOKLINE_", "OTEL_"))},
                "ALERTS_SECRET": SECRET,
                "ALERTS_SIGNING": _SIGNING,
                "ALERTS_URL": self.receiver.url,
                "HANDLERS_MOOD": str(self.mood),
                "SECRET_ID": secret_id,
            }
            self.running = Running(
                self.broker,
                self.folder,
                connections=self._connections(),
                environ=self._environ,
                settings=self._settings(role_id),
                programs=self.programs,
            )
            self._place_crew_and_monitor()
            self.start_crew()
            parts.callback(lambda: self.crew.kill())
            parts.enter_context(self.running)
            self.crew.wait_until(lambda: _ready(self.crew_port), "the crew")
            self.running.start("monitor")
            self.running.wait_ready("monitor", self._monitor_port)
            threading.Thread(target=self._loop.run_forever, daemon=True).start()
            parts.callback(self._end_streams)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *details: object) -> None:
        self._parts.close()

    # What an operator and the fates do.

    def start_crew(self) -> None:
        """The gateway of two workers, which takes no webhooks."""
        self.crew = Process(
            [sys.executable, "-m", "hookline.command", "gateway", "--config", str(self._crew_file)],
            self.folder / "crew.log",
            cwd=ROOT,
            environ=self._environ,
        )

    def workers(self) -> list[int]:
        """The process ids of the crew's workers."""
        children = Path(f"/proc/{self.crew.pid}/task/{self.crew.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def hookline(self, *words: str) -> Callable[[], bool]:
        """Begin a command: whether it has ended; RuntimeError with what it said if it failed."""
        command = [sys.executable, "-m", "hookline.command", *words]
        command += ["--config", str(self.running.config)]
        said = self.folder / f"command-{len(self._commands)}.log"
        process = Process(command, said, cwd=ROOT, environ=self._environ)
        self._commands.append(process)

        def ended() -> bool:
            if process.running:
                return False
            if process.stop():
                raise RuntimeError(f"hookline {' '.join(words)}: {process.tail()}")
            return True

        return ended

    @contextmanager
    def stream(
        self,
        connection: str,
        rate: float,
        *,
        secret: str = SECRET,
        entities: int = 300,
        body: bytes = b"",
    ) -> Iterator[None]:
        """So many signed webhooks a second, however long the answers take."""
        sending = asyncio.run_coroutine_threadsafe(
            self._send(connection, 1 / rate, secret, entities, body), self._loop
        )
        try:
            yield
        finally:
            sending.cancel()

    def send(self, connection: str, *, body: bytes = b"", padding_bytes: int = 0) -> int:
        """One webhook; the status of its answer."""
        content, headers = _webhook(random.Random(), SECRET, 300, body, padding_bytes)
        answer = httpx.post(
            f"{self.running.url}/webhooks/{connection}",
            content=content,
            headers=headers,
            timeout=20,
        )
        return answer.status_code

    def told(
        self, rule: str, status: str, labels: Mapping[str, str], after_s: float
    ) -> float | None:
        """When (monotonic) the receiver was first told after a time that such an alert is so."""
        for at_s, _, body in list(self.receiver.received):
            data = json.loads(body)["data"]
            if at_s < after_s or data["rule"] != rule:
                continue
            for alert in data["alerts"]:
                if alert["status"] == status and labels.items() <= alert["labels"].items():
                    return at_s
        return None

    def still_told(self, rule: str) -> bool:
        """Whether the last that was told of a rule is that it fires."""
        types = [
            message["type"]
            for _, _, body in list(self.receiver.received)
            if (message := json.loads(body))["data"]["rule"] == rule
        ]
        return types[-1:] == ["hookline.alert.firing"]

    def restart_gateway(self, *program: str) -> None:
        """Start it again after its end, as `program` or as it is."""
        if program:
            self.programs["gateway"] = list(program)
        else:
            self.programs.pop("gateway", None)
        self.running.start("gateway")
        self.running.wait_ready("gateway", self.running.gateway_port)

    def _end_streams(self) -> None:
        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for one in others:
                one.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _send(
        self, connection: str, every_s: float, secret: str, entities: int, body: bytes
    ) -> None:
        draw = random.Random()
        free = asyncio.Semaphore(_IN_FLIGHT)
        url = f"{self.running.url}/webhooks/{connection}"
        limits = httpx.Limits(max_connections=_IN_FLIGHT)

        async def one(client: httpx.AsyncClient) -> None:
            content, headers = _webhook(draw, secret, entities, body)
            status = 0
            with suppress(httpx.TransportError):
                status = (await client.post(url, content=content, headers=headers)).status_code
            self.answers[connection, status] += 1
            free.release()

        async with (
            httpx.AsyncClient(limits=limits, timeout=20) as client,
            asyncio.TaskGroup() as group,
        ):
            due_s = time.monotonic()
            while True:
                await free.acquire()
                group.create_task(one(client))
                due_s = max(due_s + every_s, time.monotonic() - 1)
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    # Settings.

    def _connections(self) -> list[dict[str, Any]]:
        began_s = time.time()
        self.ends_s = {
            "ending": began_s + _ENDS_AFTER_S + _WEEK_S / self.factor,
            "ends-today": began_s + _ENDS_AFTER_S + _DAY_S / self.factor,
        }
        refs = {
            "shop": f"file:{self.rewritten}",
            "vaulted": "vault:secret/alerts#key",
            **dict.fromkeys(("acme", "forged", "flooding", "quiet", *self.ends_s), ""),
        }
        connections = [connection(name, ref) for name, ref in refs.items()]
        for one in connections:
            if one["id"] in self.ends_s:
                ends = datetime.fromtimestamp(self.ends_s[one["id"]], UTC)
                one["secrets"][0]["not_after"] = ends.isoformat()
        return connections

    def _settings(self, role_id: str) -> dict[str, Any]:
        def ms(true_ms: float, least_ms: float = 1) -> int:
            return max(int(least_ms), round(true_ms / self.factor))

        return {
            "spool": {"path": str(self.folder / "spool.db")},
            "topics": {
                "dead_letters": self.broker.create_topic("dead-letters", 1),
                "audit": self.broker.create_topic("audit", 1),
            },
            "gateway": {"limits": {"overrides": {"flooding": {"rate_per_s": 2}}}},
            # Kafka may be slow here without being away: of what waits for 2 s, as it is by default,
            # the spool would answer the rest at once.
            "publish": {"ack_deadline_ms": 6_000},
            "credentials": {
                "refresh_interval_ms": ms(30_000, 1_000),
                "cache": {
                    "ttl_ms": ms(300_000, 1_000),
                    "refresh_ahead_ms": ms(60_000),
                    "keep_ms": ms(3_600_000),
                    "retry_ms": ms(5_000, 100),
                },
                "vault": {
                    "address": self.vault.address,
                    "approle": {"role_id": role_id, "secret_id": "env:SECRET_ID"},
                },
            },
            "consumer": {
                "handlers": "tests.alerts.real_handlers:handlers",
                "retry": {"max_ms": ms(30_000), "budget_ms": ms(300_000)},
                "parking": {"initial_ms": ms(30_000, 10), "max_ms": ms(900_000)},
            },
            "telemetry": {"log_level": "warning"},
        }

    def _place_crew_and_monitor(self) -> None:
        settings = self.running.settings
        self.crew_port, self._monitor_port = free_port(), free_port()
        crew = {name: room for name, room in settings.items() if name != "spool"}
        crew["gateway"] = {
            "listen": f"127.0.0.1:{free_port()}",
            "admin_listen": f"127.0.0.1:{self.crew_port}",
            "workers": 2,
        }
        self._crew_file = self.folder / "crew.yaml"
        self._crew_file.write_text(yaml.safe_dump(crew))
        gateways = [f"127.0.0.1:{port}" for port in (self.running.gateway_port, self.crew_port)]
        consumer = f"127.0.0.1:{self.running.health_port}"
        settings["monitor"] = {
            "store": f"sqlite:///{self.folder / 'monitor.db'}",
            "listen": f"127.0.0.1:{self._monitor_port}",
            "scrape": [
                {"job": "hookline-gateway", "targets": gateways},
                {"job": "hookline-consumer", "targets": [consumer]},
            ],
            "alerts": {
                "rules": str(self.folder / "rules.yaml"),
                "every_ms": max(200, round(15_000 / self.factor)),
                "wait_ms": round(10_000 / self.factor),
                "interval_ms": round(300_000 / self.factor),
                "webhooks": [
                    {"name": "run", "url": "env:ALERTS_URL", "secrets": ["env:ALERTS_SIGNING"]}
                ],
            },
        }
        self.running.config.write_text(yaml.safe_dump(settings))


def connection(name: str, ref: str = "") -> dict[str, Any]:
    """As in hookline.yaml; with no reference its secret is from the environment."""
    secret = {"name": "s", "ref": ref or "env:ALERTS_SECRET"}
    return {"id": name, "tenant": "t", "provider": "github", "secrets": [secret]}


def _webhook(
    draw: random.Random, secret: str, entities: int, body: bytes, padding_bytes: int = 0
) -> tuple[bytes, dict[str, str]]:
    github = build("github", {})
    made = sample("github", draw, time.time(), entities)
    assert made is not None
    content = body or made.body
    if padding_bytes:
        content = json.dumps({**json.loads(content), "x": draw.randbytes(padding_bytes // 2).hex()})
        content = content.encode()
    headers = github.sign(
        content,
        github.load_key(secret),
        event_id=made.event_id,
        event_type=made.event_type,
        now_s=time.time(),
    )
    return content, dict(headers)


def _ready(port: int) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=1).status_code == 200
    return False
