"""Hookline's real processes over a real broker, for tests that look from outside."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import yaml

from tests.parts.kafka import KafkaBroker
from tests.parts.process import Process, free_port

ROOT = Path(__file__).parents[2]


class Running:
    """A gateway and a consumer, each a process of its own, with their logs in files."""

    def __init__(
        self,
        broker: KafkaBroker,
        folder: Path,
        *,
        connections: list[dict[str, Any]],
        environ: Mapping[str, str],
        settings: dict[str, Any] | None = None,
        programs: Mapping[str, list[str]] | None = None,
    ) -> None:
        """`programs`: what to run in place of `hookline.command`, for each process."""
        self.folder = folder
        self.gateway_port, self.health_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.gateway_port}"
        self.store = folder / "store.db"
        unique = uuid4().hex[:12]
        self.events_topic = broker.create_topic(f"events-{unique}", 4)
        quarantine = broker.create_topic(f"quarantine-{unique}", 1)
        connections_topic = broker.create_topic(
            f"connections-{unique}", 1, cleanup_policy="compact"
        )
        executions = broker.create_topic(f"executions-{unique}", 2)
        self.settings: dict[str, Any] = {
            "environment": "test",
            "kafka": {"bootstrap_servers": broker.bootstrap_servers},
            "connections": connections,
            "gateway": {"listen": f"127.0.0.1:{self.gateway_port}"},
            "topics": {
                "events": self.events_topic,
                "quarantine": quarantine,
                "connections": connections_topic,
                "executions": executions,
                "partitions": 4,
            },
            "consumer": {
                "group": f"group-{unique}",
                "handlers": "hookline.demo.handlers:handlers",
                "store": f"sqlite:///{self.store}",
                "listen": f"127.0.0.1:{self.health_port}",
            },
            "telemetry": {"log_level": "debug"},
        }
        for room, values in (settings or {}).items():
            self.settings.setdefault(room, {}).update(values)
        self.config = folder / "hookline.yaml"
        self.config.write_text(yaml.safe_dump(self.settings))
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("HOOKLINE_", "OTEL_"))},
            **environ,
        }
        self._programs = programs or {}
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Running:
        for name in ("gateway", "consumer"):
            self.start(name)
        self.wait_ready("gateway", self.gateway_port)
        self.wait_ready("consumer", self.health_port)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()

    def start(self, name: str) -> None:
        """Start `gateway` or `consumer`."""
        program = self._programs.get(name, ["hookline.command"])
        self.processes[name] = Process(
            [sys.executable, "-m", *program, name, "--config", str(self.config)],
            self.folder / f"{name}.log",
            cwd=ROOT,
            environ=self._environ,
        )

    def wait_ready(self, name: str, port: int) -> None:
        """Wait until /readyz says so."""
        self.processes[name].wait_until(lambda: _status(port) == 200, name)

    def logs(self) -> str:
        """All that the processes have written."""
        return "".join(
            process.log_path.read_text("utf-8", "replace") for process in self.processes.values()
        )


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait for something to come to pass."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass in time"
        time.sleep(0.05)


def _status(port: int) -> int:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=1).status_code
    except httpx.TransportError:
        return 0
