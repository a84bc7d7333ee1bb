"""Several real gateways that follow one connections topic on a real broker."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from producer.connections.clients import TopicAccess
from producer.connections.editor import Editor
from producer.providers.registry import build
from tests.gateway.http_socket import Closed, Response, exchange, get, head
from tests.parts.kafka import KafkaBroker
from tests.parts.process import Process, free_port

ROOT = Path(__file__).parents[2]
SECRETS = {"OLD": "canary-old-secret", "NEW": "canary-new-secret"}
BODY = json.dumps(
    {
        "action": "opened",
        "issue": {"id": 7001, "number": 7, "title": "x"},
        "repository": {"id": 51, "full_name": "acme/shop"},
    }
).encode()
_GITHUB = build("github", {})


def entry(name: str = "acme", secrets: Mapping[str, str] | None = None, **more: Any) -> Any:
    """A connection of hookline.yaml; its secrets by name and reference."""
    named = secrets or {"old": "env:OLD"}
    return {
        "id": name,
        "tenant": "acme",
        "provider": "github",
        "secrets": [{"name": n, "ref": ref} for n, ref in named.items()],
        **more,
    }


class Fleet:
    """So many gateways with one configuration, each a process with a port of its own."""

    def __init__(
        self,
        broker: KafkaBroker,
        folder: Path,
        connections: list[Any],
        *,
        gateways: int = 1,
        environment: str = "test",
        topic: str | None = None,
        settings: dict[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        unique = uuid4().hex[:12]
        self.topic = topic or broker.create_topic(
            f"connections-{unique}", 1, cleanup_policy="compact"
        )
        self.events = broker.create_topic(f"events-{unique}", 4)
        self._quarantine = broker.create_topic(f"quarantine-{unique}", 1)
        self._audit = broker.create_topic(f"audit-{unique}", 1)
        self.broker = broker
        self.environment = environment
        self.connections = connections
        self._more = settings or {}
        self._environ = dict(SECRETS if environ is None else environ)
        self._unique = unique
        self.ports = [free_port() for _ in range(gateways)]
        self.processes: list[Process] = []
        # A process dies with the thread that started it (tests/parts/process.py).
        self._starter = ThreadPoolExecutor(1)

    def config(self, number: int = 0) -> Path:
        """The settings of one gateway, written as they are now."""
        path = self.folder / f"{self._unique}-{number}.yaml"
        settings: dict[str, Any] = {
            "environment": self.environment,
            "kafka": {"bootstrap_servers": self.broker.bootstrap_servers},
            "connections": self.connections,
            "gateway": {
                "listen": f"127.0.0.1:{self.ports[number]}",
                "connections_snapshot": str(self.folder / f"{self._unique}-{number}.snapshot"),
            },
            "topics": {
                "events": self.events,
                "quarantine": self._quarantine,
                "connections": self.topic,
                "audit": self._audit,
                "partitions": 4,
            },
        }
        for room, values in self._more.items():
            settings.setdefault(room, {}).update(values)
        path.write_text(yaml.safe_dump(settings))
        return path

    def start(self, number: int = 0) -> None:
        """Start a gateway, or start it again; it need not be ready."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HOOKLINE_", "OTEL_"))}
        command = [sys.executable, "-m", "hookline.command", "gateway", "--config"]
        process = self._starter.submit(
            Process,
            [*command, str(self.config(number))],
            self.folder / f"{self._unique}-{number}.log",
            cwd=ROOT,
            environ=kept | self._environ,
        ).result()
        self.processes[number:] = [process, *self.processes[number + 1 :]]

    def __enter__(self) -> Fleet:
        for number in range(len(self.ports)):
            self.start(number)
        for number in range(len(self.ports)):
            self.wait_ready(number)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        self._starter.shutdown()
        for canary in self._environ.values():
            assert canary not in self.log()
        assert "Traceback" not in self.log()

    def editor(self, environment: str | None = None) -> Editor:
        """A session on the topic as a command has it."""
        access = TopicAccess(self.broker.bootstrap_servers, self.topic)
        return Editor(access, environment or self.environment, "a test")

    def wait_ready(self, number: int = 0) -> None:
        """Wait until /readyz says so."""
        self.processes[number].wait_until(lambda: self.readiness(number)[0] == 200, "a gateway")

    def readiness(self, number: int = 0) -> tuple[int, str]:
        """The status of /readyz and its reason; 0 while nobody listens."""
        try:
            answer = get(self.ports[number], "/readyz")
        except (OSError, Closed):
            return 0, ""
        return answer.status, answer.json()["reason"]

    def post(self, name: str = "acme", secret: str = "OLD", number: int = 0) -> Response:
        """Post a webhook that this secret has signed."""
        return exchange(self.ports[number], self.request(name, SECRETS[secret]))

    @staticmethod
    def request(name: str, secret: str) -> bytes:
        """A whole request that this secret has signed."""
        length = {"content-length": str(len(BODY))}
        return head(f"/webhooks/{name}", {**signed(secret), **length}) + BODY

    def answers(self, name: str = "acme", secret: str = "OLD") -> list[int]:
        """The status that each gateway answers."""
        return [self.post(name, secret, n).status for n in range(len(self.ports))]

    def metrics(self, number: int = 0) -> str:
        """/metrics."""
        return get(self.ports[number], "/metrics").body.decode()

    def log(self, number: int | None = None) -> str:
        """All that one gateway has written, or all have."""
        which = "*" if number is None else str(number)
        paths = sorted(self.folder.glob(f"{self._unique}-{which}.log"))
        return "".join(path.read_text("utf-8", "replace") for path in paths)


def signed(secret: str) -> Mapping[str, str]:
    """The headers of a webhook that this secret has signed."""
    return _GITHUB.sign(
        BODY,
        _GITHUB.load_key(secret),
        event_id=f"delivery-{uuid4()}",
        event_type="github.issues.opened",
        now_s=time.time(),
    )


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait for something to come to pass."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass in time"
        time.sleep(0.01)
