"""The servers that are compared, each its real process on a port of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

import yaml
from confluent_kafka import Consumer, TopicPartition

from benchmarks.gateway import requests
from benchmarks.gateway.go_rival import go_server
from benchmarks.rivals import rival_python
from schemas.topics import EVENTS, EXECUTIONS
from tests.parts.kafka import KafkaBroker
from tests.parts.process import Process, free_port

ROOT: Final = Path(__file__).parents[2]
OURS: Final = "hookline gateway"
RIVAL: Final = "FastAPI, uvicorn, aiokafka"
GO: Final = "Go, net/http, franz-go"
CEILING: Final = "same server, constant"


class Candidate:
    """A server that is ready; `topic` is where it puts webhooks, empty for the constant."""

    def __init__(
        self, name: str, port: int, topic: str, command: list[str], folder: Path,
        environ: Mapping[str, str], ready_path: str = "/readyz",
    ) -> None:  # fmt: skip
        self.name = name
        self.port = port
        self.topic = topic
        log = folder / f"{port}.log"
        self.process = Process(command, log, cwd=ROOT, environ=_environ(environ))
        self.process.wait_until(lambda: _answers(port, ready_path), name)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self.process.stop()


def gateway(
    broker: KafkaBroker,
    folder: Path,
    name: str = OURS,
    changed: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    **topic_settings: str,
) -> Candidate:
    """Hookline's gateway, all settings at their defaults but for `changed`.

    Of several with other names each has topics of its own.
    """
    suffix = "" if name == OURS else "-" + "".join(c if c.isalnum() else "-" for c in name)
    port, topic = free_port(), _topic(broker, f"bench-hookline{suffix}", **topic_settings)
    connections = f"bench-connections{suffix}"
    settings = {
        "environment": "benchmark",
        "kafka": {"bootstrap_servers": broker.bootstrap_servers},
        "connections": [
            {
                "id": requests.PATH.rpartition("/")[2],
                "tenant": "acme",
                "provider": "github",
                "secrets": [{"name": "first", "ref": "env:BENCH_SECRET"}],
            }
        ],
        "gateway": {"listen": f"127.0.0.1:{port}"},
        "topics": {
            "events": topic,
            "quarantine": broker.create_topic(f"bench-quarantine{suffix}", 1),
            "connections": broker.create_topic(connections, 1, cleanup_policy="compact"),
            "executions": broker.create_topic(f"bench-executions{suffix}", EXECUTIONS.partitions),
            "partitions": EVENTS.partitions,
        },
    }
    config = folder / f"hookline{suffix}.yaml"
    config.write_text(yaml.safe_dump(settings | dict(changed or {})), "utf-8")
    command = [sys.executable, "-m", "hookline.command", "gateway", "--config", str(config)]
    secret = {"BENCH_SECRET": requests.SECRET}
    return Candidate(name, port, topic, command, folder, secret | dict(environ or {}))


def fastapi(broker: KafkaBroker, folder: Path, workers: int) -> Candidate:
    """The same job on FastAPI."""
    port, topic = free_port(), _topic(broker, "bench-fastapi")
    python = rival_python(ROOT / "benchmarks" / "rivals.txt")
    command = [
        str(python), "-m", "uvicorn", "--app-dir", str(Path(__file__).parent), "fastapi_app:app",
        "--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop", "--http", "httptools",
        "--workers", str(workers), "--no-access-log", "--log-level", "warning",
        "--no-server-header", "--no-date-header", "--no-proxy-headers",
    ]  # fmt: skip
    environ = {
        "BENCH_SECRET": requests.SECRET,
        "BENCH_TOPIC": topic,
        "BENCH_KAFKA": broker.bootstrap_servers,
    }
    return Candidate(RIVAL, port, topic, command, folder, environ)


def go(broker: KafkaBroker, folder: Path) -> Candidate:
    """The same job in Go; PartMissing if that cannot be had."""
    program = go_server()
    port, topic = free_port(), _topic(broker, "bench-go")
    environ = {
        "BENCH_SECRET": requests.SECRET,
        "BENCH_TOPIC": topic,
        "BENCH_KAFKA": broker.bootstrap_servers,
    }
    return Candidate(GO, port, topic, [str(program), f"127.0.0.1:{port}"], folder, environ)


def constant(folder: Path) -> Candidate:
    """The ceiling: what the HTTP server could do if it had nothing to do."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.gateway.constant", str(port)]
    return Candidate(CEILING, port, "", command, folder, {}, requests.PATH)


def records(broker: KafkaBroker, topic: str) -> int:
    """How many records Kafka has of a topic; nothing is deleted while a benchmark runs."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "bench"})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return sum(
            consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
            for number in partitions
        )
    finally:
        consumer.close()


def _topic(broker: KafkaBroker, name: str, **settings: str) -> str:
    return broker.create_topic(
        name, EVENTS.partitions, max_message_bytes=str(EVENTS.max_message_bytes), **settings
    )


def _environ(more: Mapping[str, str]) -> dict[str, str]:
    # As a person starts it: what this shell happens to set of telemetry or Python is left out.
    ours = ("HOOKLINE_", "OTEL_", "PYTHON", "BENCH_")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | dict(more)


def _answers(port: int, path: str) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("POST" if path == requests.PATH else "GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
