"""Replicas of one consumer group over one store, and what a store's effects are."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import httpx
import yaml

from tests.parts.kafka import KafkaBroker
from tests.parts.postgres import PostgresServer
from tests.parts.process import Process, free_port
from tests.parts.redis import RedisServer

ROOT = Path(__file__).parents[2]
#: (event id, resource key, Unix ms), in the order in which they happened per key.
Effect = tuple[str, str, int]


class ChaosStore(Protocol):
    """A store that can be broken, and whose effects can be read."""

    name: str
    url: str

    def effects(self) -> list[Effect]: ...
    def count(self) -> int: ...
    def restart(self) -> None: ...


class SqliteChaos:
    """A file."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "store.db"
        self.url = f"sqlite:///{self._path}"
        with sqlite3.connect(self._path) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(
                "CREATE TABLE effects (n INTEGER PRIMARY KEY, event_id TEXT, resource_key TEXT,"
                " at_ms INTEGER)"
            )
        connection.close()

    def _query(self, sql: str) -> list[Any]:
        with sqlite3.connect(self._path) as connection:
            found = connection.execute(sql).fetchall()
        connection.close()
        return found

    def effects(self) -> list[Effect]:
        return self._query("SELECT event_id, resource_key, at_ms FROM effects ORDER BY n")

    def count(self) -> int:
        return int(self._query("SELECT count(*) FROM effects")[0][0])

    def restart(self) -> None:
        """A file has nothing to restart."""


class PostgresChaos:
    """A server of its own."""

    name = "postgres"

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.url = server.dsn
        server.query(
            "CREATE TABLE effects (n bigint GENERATED ALWAYS AS IDENTITY, event_id text,"
            " resource_key text, at_ms bigint)"
        )

    def effects(self) -> list[Effect]:
        text = self._server.query("SELECT event_id, resource_key, at_ms FROM effects ORDER BY n")
        rows = (line.split("|") for line in text.splitlines())
        return [(event_id, key, int(at_ms)) for event_id, key, at_ms in rows]

    def count(self) -> int:
        return int(self._server.query("SELECT count(*) FROM effects"))

    def restart(self) -> None:
        self._server.kill()
        self._server.start()


class RedisChaos:
    """A server of its own, its append-only file synced at each write."""

    name = "redis"

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.url = server.url

    def effects(self) -> list[Effect]:
        import redis

        with redis.Redis(port=self._server.port) as client:
            lines = client.lrange("effects", 0, -1)
        rows = (line.decode().split(" ") for line in lines)
        return [(event_id, key, int(at_ms)) for event_id, key, at_ms in rows]

    def count(self) -> int:
        import redis

        with redis.Redis(port=self._server.port) as client:
            return int(client.llen("effects"))

    def restart(self) -> None:
        self._server.kill()
        self._server.start()


@contextmanager
def chaos_store(name: str, folder: Path) -> Iterator[ChaosStore]:
    """A fresh store of a kind."""
    with ExitStack() as stack:
        if name == "postgres":
            yield PostgresChaos(stack.enter_context(PostgresServer()))
        elif name == "redis":
            yield RedisChaos(stack.enter_context(RedisServer()))
        else:
            yield SqliteChaos(folder)


class Replicas:
    """Consumer processes that can be killed, stopped and started; ended with the block."""

    def __init__(self, broker: KafkaBroker, topic: str, store: ChaosStore, folder: Path) -> None:
        self._folder = folder
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("HOOKLINE_", "OTEL_"))},
            "CHAOS_STORE": store.name,
            **{k: v for k, v in os.environ.items() if k.startswith("CHAOS_")},
        }
        self._settings = {
            "kafka": {"bootstrap_servers": broker.bootstrap_servers},
            "topics": {"events": topic, "dead_letters": f"{topic}.dead"},
            "consumer": {
                "group": f"chaos-{uuid4().hex}",
                "handlers": "tests.chaos.consumer_handlers:handlers",
                "store": store.url,
                "retry": {"initial_ms": 20, "max_ms": 200, "budget_ms": 500},
                "parking": {"initial_ms": 500, "max_ms": 1500, "scan_ms": 500},
                "drain_deadline_ms": 5000,
            },
            "telemetry": {"log_level": "info"},
        }
        self.ports: dict[int, int] = {}
        self.processes: dict[int, Process] = {}

    def __enter__(self) -> Replicas:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()

    def start(self, number: int) -> None:
        """Start a replica, or start it again."""
        self.ports[number] = free_port()
        settings = dict(self._settings)
        settings["consumer"] = {
            **self._settings["consumer"],  # type: ignore[dict-item]
            "listen": f"127.0.0.1:{self.ports[number]}",
        }
        config = self._folder / f"replica-{number}.yaml"
        config.write_text(yaml.safe_dump(settings))
        self.processes[number] = Process(
            [sys.executable, "-m", "hookline.command", "consumer", "--config", str(config)],
            self._folder / f"replica-{number}.log",
            cwd=ROOT,
            environ=self._environ,
        )

    def ready(self, number: int) -> bool:
        """Whether it has partitions."""
        try:
            url = f"http://127.0.0.1:{self.ports[number]}/readyz"
            return httpx.get(url, timeout=1).status_code == 200
        except httpx.TransportError:
            return False

    def logs(self) -> str:
        """All that the replicas have written."""
        return "".join(
            path.read_text("utf-8", "replace") for path in sorted(self._folder.glob("*.log"))
        )
