"""Everything that Hookline puts out while it is used and broken in every way, as named places."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import yaml
from confluent_kafka import Consumer, TopicPartition

from credentials.sealed import SealedWriter
from credentials.sealed_file import SealedFile
from credentials.secret import Secret
from tests.credentials.vault_standin import ROLE_ID, VaultStandIn
from tests.end_to_end.canary_parts import Echo, SaslBroker
from tests.end_to_end.canary_secrets import SEALED, Marked
from tests.end_to_end.canary_traffic import Traffic
from tests.end_to_end.running import ROOT, Running, until
from tests.parts.process import Process, free_port
from tests.parts.redis import RedisServer
from tests.providers.subjects import SUBJECTS
from tests.telemetry.collector import OtlpCollector

HANDLERS = "tests.end_to_end.canary_handlers:handlers"


class Stage:
    """One run. `places` is what came out, by kind and name: `logs/gateway`, `topics/events`."""

    def __init__(self, folder: Path, postgres_url: str, redis: RedisServer) -> None:
        self.folder = folder
        self.marked = Marked(folder)
        self.places: dict[str, bytes] = {}
        self.statuses: dict[str, list[int]] = {}
        self.sent = 0
        self._postgres_url = postgres_url
        self._redis = redis
        self._sealed = folder / "hookline.sealed"
        self._environ: dict[str, str] = {}
        self._processes: dict[str, Process] = {}

    def play(self) -> None:
        """Start all, use all, break all, and take down what came out."""
        with (
            SaslBroker(self.marked["KAFKA_PASSWORD"]) as broker,
            OtlpCollector() as collector,
            VaultStandIn() as vault,
            Echo() as echo,
        ):
            vault.write("hooks", {"key": self.marked["SIGNING_VAULT"]})
            vault.secret_ids.add(self.marked["VAULT_SECRET_ID"])
            self._seal()
            self._environ = {
                **self.marked.environ,
                "TARGET_URL": f"{echo.url}?token={self.marked.text('in a target')}",
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
                "OTEL_BSP_SCHEDULE_DELAY": "200",
                "OTEL_LOGS_EXPORTER": "otlp",
                "OTEL_METRIC_EXPORT_INTERVAL": "1000",
                "PYTHONFAULTHANDLER": "1",
                "PYTHONWARNINGS": "always",
                "CANARY_STORE": "sqlite",
            }
            settings = self._settings(broker, vault, echo)
            running = Running(
                broker,
                self.folder,
                connections=self.marked.connections,
                environ=self._environ,
                settings=settings,
            )
            try:
                self._play(running, broker, collector, vault)
            finally:
                running.__exit__()
                for process in self._processes.values():
                    process.kill()

    def _seal(self) -> None:
        """Write, overwrite and delete in the sealed file, as the connect flow does."""
        keys = Secret(self.marked.environ["SEAL_KEY"])
        writer = SealedWriter(SealedFile(self._sealed, lambda: keys))
        writer.delete(writer.write("acme/in-sealed/gone", Secret(self.marked["SEALED_BEFORE"])))
        for name in ("SEALED_BEFORE", "SIGNING_SEALED"):
            writer.write(SEALED, Secret(self.marked[name]))

    def _settings(self, broker: SaslBroker, vault: VaultStandIn, echo: Echo) -> dict[str, Any]:
        dead_letters = broker.create_topic(f"dead-letters-{uuid4().hex[:12]}", 1)
        return {
            "kafka": {
                "bootstrap_servers": f"127.0.0.1:{broker.sasl_port}",
                "properties": {
                    "security.protocol": "SASL_PLAINTEXT",
                    "sasl.mechanism": "PLAIN",
                    "sasl.username": "hookline",
                    "sasl.password": "env:KAFKA_PASSWORD",
                },
            },
            "topics": {"dead_letters": dead_letters},
            "spool": {"path": str(self.folder / "spool.db")},
            "credentials": {
                "refresh_interval_ms": 1_000,
                "cache": {"ttl_ms": 1_000, "refresh_ahead_ms": 0, "retry_ms": 100},
                "sealed": {"path": str(self._sealed), "key": "env:SEAL_KEY"},
                "vault": {
                    "address": vault.address,
                    "approle": {"role_id": ROLE_ID, "secret_id": "env:VAULT_SECRET_ID"},
                },
            },
            "consumer": {
                "handlers": HANDLERS,
                "retry": {"initial_ms": 10, "max_ms": 50, "budget_ms": 300},
                "parking": {"initial_ms": 1_000, "max_ms": 10_000, "scan_ms": 200},
                "forward": [
                    {
                        "events": ["twilio.*", "microsoft_graph.*"],
                        "url": "env:TARGET_URL",
                        "secrets": ["env:FORWARD_SECRET"],
                        "bearer": "env:FORWARD_BEARER",
                    }
                ],
            },
        }

    def _play(
        self, running: Running, broker: SaslBroker, collector: OtlpCollector, vault: VaultStandIn
    ) -> None:
        with running:
            traffic = Traffic(self.marked, running.gateway_port)
            for store in ("postgresql", "redis"):
                self._start_consumer(running, store)
            self.statuses = traffic.everything()
            accepted = self.statuses["valid"].count(200)
            for name in ("consumer", "postgresql", "redis"):
                until(lambda n=name: self._settled(running, n))
            self.sent = accepted
            self._commands(running)
            self._wrong_ways(running, vault)
            self._scrape(running)
            self._kafka_away(running, broker, traffic)
            for name, process in running.processes.items():
                os.kill(process.pid, signal.SIGABRT)
                until(lambda p=process: not p.running)
                self.places[f"logs/{name}"] = process.log_path.read_bytes()
        for process in self._processes.values():
            os.kill(process.pid, signal.SIGTERM)
        for name, process in self._processes.items():
            process.stop()
            self.places[f"logs/{name}"] = process.log_path.read_bytes()
        self.places["answers/gateway"] = b"\n".join(traffic.answers)
        self.places["traces and metrics/collector"] = collector.raw()
        self._files(running, broker)

    def _settled(self, running: Running, name: str) -> bool:
        """Whether a consumer has met all of its kinds of failure, and parks what it cannot do."""
        log = (self.folder / f"{name}.log").read_text()
        return all(f'"action":"{action}"' in log for action in ("park", "dead_letter", "retry"))

    def _start_consumer(self, running: Running, store: str) -> None:
        port = free_port()
        if store == "postgresql":
            url, password = self._postgres_url, "env:STORE_PASSWORD"
        else:
            self._redis.command("CONFIG", "SET", "requirepass", self.marked["REDIS_PASSWORD"])
            parts = urlsplit(self._redis.url)
            url, password = f"redis://default@{parts.netloc}{parts.path}", "env:REDIS_PASSWORD"
        consumer = {
            "group": f"group-{store}-{uuid4().hex[:8]}",
            "listen": f"127.0.0.1:{port}",
            "store": url,
            "store_password": password,
        }
        config = self.variant(running, store, consumer=consumer)
        self._daemon(store, "consumer", config, CANARY_STORE=store)
        self._processes[store].wait_until(lambda: _ready(port), store)
        self.places[f"metrics/{store}"] = httpx.get(f"http://127.0.0.1:{port}/metrics").content

    def variant(self, running: Running, name: str, **rooms: dict[str, Any]) -> Path:
        """The settings with some of them changed, as a file."""
        changed = {
            room: {**values, **rooms.get(room, {})} if isinstance(values, dict) else values
            for room, values in running.settings.items()
        }
        path = self.folder / f"hookline-{name}.yaml"
        path.write_text(yaml.safe_dump(changed))
        return path

    def _daemon(self, name: str, command: str, config: Path, **environ: str) -> None:
        self._processes[name] = Process(
            [sys.executable, "-m", "hookline.command", command, "--config", str(config)],
            self.folder / f"{name}.log",
            cwd=ROOT,
            environ=_own_environ() | self._environ | environ,
        )

    def run(self, name: str, *arguments: str, **environ: str) -> int:
        """One command to its end; its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "hookline.command", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=ROOT,
            env=_own_environ() | self._environ | environ,
            timeout=60,
        )
        self.places[f"commands/{name}"] = done.stdout + done.stderr
        return done.returncode

    def _commands(self, running: Running) -> None:
        own = ("--config", str(running.config))
        more = {name: ("--config", str(self.folder / f"hookline-{name}.yaml"))
                for name in ("postgresql", "redis")}  # fmt: skip
        pasted = self.marked["WRONG_PASSWORD"]
        jobs: list[tuple[str, ...]] = [
            ("--help",),
            ("--version",),
            ("config", "check", *own),
            ("config", "check", "--secrets", *own),
            ("config", "schema"),
            ("config", "example"),
            ("secrets", "check", *own),
            ("secrets", "check", "in-sealed", *own),
            ("secrets", "reseal", *own),
            ("secrets", "rotate", "github", "pasted", pasted, *own),
            ("--debug", "secrets", "rotate", "github", "pasted", f"vault:{pasted}", *own),
            ("connections", "list", *own),
            ("connections", "list", "--json", *own),
            ("connections", "show", "meta", *own),
            ("connections", "show", "hmac", "--json", *own),
            ("connections", "show", "basic", "--yaml", *own),
            ("topics", "check", *own),
            ("spool", "status", *own),
            ("send", "--connection", "stripe", *own),
            ("send", "--connection", "token", *own),
            ("send", "--connection", "token", "--url", "http://127.0.0.1:9", *own),
            ("--debug", "dead-letters", "show", "999999", *own),
            ("dead-letters", "list", *own),
            ("parked", "list", *own),
            *(("dead-letters", "list", "--json", *config) for config in (own, *more.values())),
            *(("dead-letters", "show", "1", *config) for config in (own, *more.values())),
            *(("parked", "list", "--json", *config) for config in (own, *more.values())),
            ("parked", "retry", "--all", "--dry-run", *own),
        ]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda job: self.run(_title(job), *job), jobs))

    def _wrong_ways(self, running: Running, vault: VaultStandIn) -> None:
        """Wrong passwords, servers that are away or speak of secrets, and what crashes."""
        kafka = running.settings["kafka"]
        gateway = {"listen": f"127.0.0.1:{free_port()}"}
        spool = {"path": str(self.folder / "spool-2.db")}
        chatty = kafka["properties"] | {"debug": "all", "log_level": 7}
        debugging = self.variant(
            running, "debug", kafka=kafka | {"properties": chatty}, gateway=gateway, spool=spool
        )
        self._daemon("gateway with librdkafka's debug", "gateway", debugging)
        gateway = {"listen": f"127.0.0.1:{free_port()}"}
        wrong = self.variant(running, "wrong", gateway=gateway, spool={"path": None})
        password = {"KAFKA_PASSWORD": self.marked["WRONG_PASSWORD"]}
        self._daemon("gateway with a wrong password", "gateway", wrong, **password)
        own = ("--config", str(running.config))
        self.run("topics, wrong password", "topics", "check", *own, **password)
        self.run("connections, wrong password", "connections", "list", *own, **password)
        self.run("consumer, crash at import", "consumer", *own, CANARY_CRASH="at import")
        for store, name in (
            (f"postgresql://u@127.0.0.1:{free_port()}/d", "no postgresql"),
            (self._postgres_url.rpartition("/")[0] + "/no_such_database", "no database"),
            (f"redis://default@127.0.0.1:{free_port()}/0", "no redis"),
            (self._redis.url.replace("//", "//default@"), "wrong password of redis"),
        ):
            consumer = running.settings["consumer"] | {
                "store": store,
                "store_password": "env:STORE_PASSWORD",
                "listen": f"127.0.0.1:{free_port()}",
            }
            config = str(self.variant(running, name.replace(" ", "-"), consumer=consumer))
            self.run(f"parked, {name}", "parked", "list", "--config", config)
            self.run(f"parked, {name}, debug", "--debug", "parked", "list", "--config", config)
        # A Vault that quotes what it was sent.
        said = f"{self.marked['VAULT_SECRET_ID']} and {' '.join(vault.tokens)} are not welcome"
        for number, token in enumerate(vault.tokens):
            self.marked.seen(f"token {number} of Vault", token)
        for status in (400, 403, 500):
            vault.answers_all = (status, said)
            self.run(f"secrets, Vault says {status}", "secrets", "check", "in-vault", *own)
        until(lambda: b"Vault" in (self.folder / "gateway.log").read_bytes())
        vault.answers_all = None
        name = "gateway with a wrong password"
        until(lambda: b"uthentication" in (self.folder / f"{name}.log").read_bytes())

    def _scrape(self, running: Running) -> None:
        for name, port in (("gateway", running.gateway_port), ("consumer", running.health_port)):
            for path in ("metrics", "livez", "readyz", "no-such-path"):
                content = httpx.get(f"http://127.0.0.1:{port}/{path}").content
                self.places[f"metrics/{name} {path}"] = content
        for name, process in {**running.processes, **self._processes}.items():
            command_line = Path(f"/proc/{process.pid}/cmdline")
            self.places[f"process list/{name}"] = command_line.read_bytes()

    def _kafka_away(self, running: Running, broker: SaslBroker, traffic: Traffic) -> None:
        """The topics as Kafka has them; then without it, so that webhooks go to the spool."""
        for what in ("events", "quarantine", "dead_letters", "connections", "executions"):
            topic = running.settings["topics"][what]
            self.places[f"topics/{what}"] = _records(broker.bootstrap_servers, topic)
        broker.stop()
        subjects = [subject for subject in SUBJECTS if subject.name != "slack"]
        self.statuses["while Kafka is away"] = [traffic.send(subject) for subject in subjects]

    def _files(self, running: Running, broker: SaslBroker) -> None:
        for path in sorted(broker.data.rglob("*.log")):
            # Only what is ours: the others are Kafka's own.
            if any(path.parent.name.startswith(f"{t}-") for t in _topics(running)):
                place = f"files of Kafka/{path.parent.name}"
                self.places[place] = self.places.get(place, b"") + path.read_bytes()
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith(("store.db", "spool", "hookline")):
                self.places[f"files/{path.name}"] = path.read_bytes()
        for path in ROOT.glob("core*"):
            assert path.is_dir() or not path.name.startswith("core."), path


def _own_environ() -> dict[str, str]:
    ours = ("HOOKLINE_", "OTEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _topics(running: Running) -> list[str]:
    names = ("events", "quarantine", "dead_letters", "connections", "executions")
    return [running.settings["topics"][name] for name in names]


def _title(job: tuple[str, ...]) -> str:
    words = [Path(word).stem if "/" in word else word for word in job if word != "--config"]
    return " ".join(words[:4] + words[-1:])


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def _records(bootstrap_servers: str, topic: str) -> bytes:
    """Keys, values and headers of all records."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": "canary", "log_level": 0}
    )
    parts: list[bytes] = []
    try:
        for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
            if first == end:
                continue
            consumer.assign([TopicPartition(topic, number, first)])
            while True:
                message = consumer.poll(10.0)
                assert message is not None, f"{topic}/{number}: not all records came"
                assert message.error() is None, message.error()
                headers = [f"{name}=".encode() + value for name, value in message.headers() or ()]
                parts += [message.key() or b"", message.value() or b"", *headers]
                if message.offset() >= end - 1:
                    break
    finally:
        consumer.close()
    return b"\n".join(parts)
