"""Everything that a customer's click sets in motion, as processes of their own: the console, the
gateways, Kafka; beside it the vendors, and what is kept (records, sealed secrets) as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

import httpx
import msgspec
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition

from credentials.seal_key import new_seal_key
from credentials.sealed_file import SealedFile
from credentials.secret import Secret
from schemas.connect_codec import CONNECT_SESSION
from tests.connect_flow.front import Front
from tests.parts.kafka import KafkaBroker
from tests.parts.process import Process, free_port
from tests.vendors.github import Token
from tests.vendors.shopify import App
from tests.vendors.street import Street
from tests.vendors.zendesk import Agent

ROOT: Final = Path(__file__).parents[2]
HOOKS: Final = "hooks.northwind.example"
TENANT: Final = "acme"
REPOSITORY: Final = "northwind/shop"
SHOP: Final = "northwind-tea"
DESK: Final = "northwind"
EMAIL: Final = "noor@northwind.example"
_EVENT_WITHIN_S: Final = 30.0


class Record(NamedTuple):
    """A message. `at_s` is when the broker took it, or when it was written (Unix s)."""

    key: str
    value: bytes | None
    at_s: float
    headers: str


class Stage:
    """All of it, from `start` to `close`. The credentials are what a customer would have."""

    def __init__(
        self,
        broker: KafkaBroker,
        folder: Path,
        *,
        gateways: int = 1,
        credentials: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.broker, self.folder = broker, folder
        self.credentials = {
            "github": "ghp_" + uuid4().hex + "aaaa",
            "zendesk": uuid4().hex + "zzzzzzzz",
            "shopify": "shpss_" + uuid4().hex,
            "seal": new_seal_key().reveal(),
            **(credentials or {}),
        }
        self.street = Street(folder)
        self._settle_vendors()
        self.console_port = free_port()
        self.gateway_ports = [free_port() for _ in range(gateways)]
        #: The customers' network, and the one before the gateway.
        self.network = Front(self.console_port)
        self.console_url = f"http://127.0.0.1:{self.network.port}"
        context = self.street.authority.server(HOOKS)
        self.front = Front(self.gateway_ports[0], context)
        self.street.deliveries.ports[HOOKS] = self.front.port
        self.sealed = folder / "hookline.sealed"
        self.topics = self._topics()
        self.settings = self._settings(settings or {})
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("HOOKLINE_", "OTEL_"))},
            "SEAL_KEY": self.credentials["seal"],
            "SHOPIFY_SECRET": self.credentials["shopify"],
            "VENDOR_HOSTS": " ".join(self.street.hosts),
            **(environ or {}),
        }
        self.processes: dict[str, Process] = {}
        self.token = ""
        self.configs: dict[str, Path] = {}

    def _settle_vendors(self) -> None:
        street, given = self.street, self.credentials
        everything = frozenset({REPOSITORY})
        token = Token(repositories=everything, scopes=("repo",))
        street.github.tokens[given["github"]] = token
        few = Token(repositories=everything, scopes=("read:user",))
        street.github.tokens["ghp_few" + "f" * 30] = few
        read_only = Token(repositories=everything, webhooks=False)
        street.github.tokens["github_pat_" + "r" * 40] = read_only
        noor = Agent(email=EMAIL, token=given["zendesk"])
        agent = Agent(email="ben@northwind.example", token="b" * 40, administrator=False)
        street.zendesk.agents[DESK] = [noor, agent]
        street.shopify.shops.add(SHOP)

    def _topics(self) -> dict[str, str]:
        unique = uuid4().hex[:10]
        made = {
            "events": self.broker.create_topic(
                f"events-{unique}", 2, message_timestamp_type="LogAppendTime"
            )
        }
        for name in ("quarantine", "executions"):
            made[name] = self.broker.create_topic(f"{name}-{unique}", 1)
        for name in ("connections", "tokens", "connect_sessions"):
            topic = f"{name.replace('_', '-')}-{unique}"
            made[name] = self.broker.create_topic(topic, 1, cleanup_policy="compact")
        for name in ("audit", "dead_letters"):
            topic = f"{name.replace('_', '-')}-{unique}"
            made[name] = self.broker.create_topic(topic, 1)
        return made

    def _settings(self, more: Mapping[str, Any]) -> dict[str, Any]:
        callback = f"{self.console_url}/connect/callback"
        self.street.shopify.app = App(
            client_id="northwind-app",
            client_secret=self.credentials["shopify"],
            redirect_uri=callback,
        )
        made: dict[str, Any] = {
            "environment": "test",
            "kafka": {"bootstrap_servers": self.broker.bootstrap_servers},
            "topics": {**self.topics, "partitions": 2},
            "credentials": {"sealed": {"path": str(self.sealed), "key": "env:SEAL_KEY"}},
            "console": {
                "listen": f"127.0.0.1:{self.console_port}",
                "public_url": self.console_url,
            },
            "monitor": {"store": f"sqlite:///{self.folder}/monitor.db"},
            "connect": {
                "gateway_url": f"https://{HOOKS}",
                "gateway_check_url": f"http://127.0.0.1:{self.gateway_ports[0]}",
                "catalogue": str(self.street.catalogue(self.folder / "catalogue")),
                "secrets": {"backend": "sealed"},
                "oauth": {
                    "shopify": {
                        "client_id": "northwind-app",
                        "client_secret": "env:SHOPIFY_SECRET",
                        "app_secret": "env:SHOPIFY_SECRET",
                    }
                },
                "outgoing": {
                    "allow_hosts": list(self.street.hosts),
                    "ca_file": str(self.street.authority.file),
                    "timeout_ms": 3_000,
                },
            },
        }
        for room, values in more.items():
            made.setdefault(room, {}).update(values)
        return made

    def start(self) -> None:
        """Start all that is ours, and wait until each says that it is ready."""
        for number, port in enumerate(self.gateway_ports, 1):
            name = f"gateway{number}" if len(self.gateway_ports) > 1 else "gateway"
            own = {**self.settings, "gateway": {"listen": f"127.0.0.1:{port}"}}
            self.run_process(name, "gateway", own)
        self.run_process(
            "console",
            "console",
            self.settings,
            module="tests.vendors.named",
        )
        ports = {"console": self.console_port}
        for name in self.processes:
            if name.startswith("gateway"):
                ports[name] = self.gateway_ports[int(name.removeprefix("gateway") or 1) - 1]
        for name, port in ports.items():
            self.processes[name].wait_until(lambda p=port: ready(p), name)
        made = self.command("tokens", "create", "--name", "tests", "--scopes", "all", "--json")
        self.token = json.loads(made.splitlines()[-1])["token"]
        until(lambda: self.api("GET", "/systems").status_code == 200)

    def run_process(
        self, name: str, command: str, settings: Any, module: str = "hookline.command"
    ) -> None:
        """One process, with settings of its own, its log in `{name}.log`."""
        config = self.folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump(settings))
        self.configs[name] = config
        self.processes[name] = Process(
            [sys.executable, "-m", module, command, "--config", str(config)],
            self.folder / f"{name}.log",
            cwd=ROOT,
            environ=self.environ,
        )

    def close(self) -> None:
        """End all."""
        for process in self.processes.values():
            process.kill()
        self.front.close()
        self.network.close()
        self.street.close()

    def command(self, *arguments: str) -> str:
        """One command's output."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.vendors.named", *arguments,
             "--config", str(self.configs["console"])],
            cwd=ROOT, env=self.environ, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # Our user's backend.

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One call of the API."""
        return httpx.request(
            method,
            f"{self.console_url}/api/v1{path}",
            json=body,
            headers={"authorization": f"Bearer {self.token}", **headers},
            timeout=30,
        )

    def session(self, **wanted: Any) -> dict[str, Any]:
        """A new connect session: `session`, `token`, `url`."""
        made = self.api("POST", "/connect-sessions", {"tenant": TENANT, **wanted})
        assert made.status_code == 201, made.text
        found: dict[str, Any] = made.json()
        return found

    def expire(self, session_id: str) -> None:
        """Its time is over: as if half an hour had passed."""
        key = f"{self.settings['environment']}/{session_id}"
        producer = Producer({"bootstrap.servers": self.broker.bootstrap_servers})
        record = CONNECT_SESSION.decode(self.records("connect_sessions")[key])
        flow = json.loads(record.flow)
        flow["revision"] = flow["seen"] = record.revision + 1
        past = msgspec.structs.replace(
            record,
            expires_at_us=record.created_at_us + 1,
            revision=record.revision + 1,
            writer="time",
            flow=json.dumps(flow),
        )
        producer.produce(self.topics["connect_sessions"], CONNECT_SESSION.encode(past), key)
        assert producer.flush(10) == 0

    # What is there.

    def records(self, topic: str) -> dict[str, bytes]:
        """The latest value of each key, of those that have one."""
        found: dict[str, bytes] = {}
        for one in self.log(topic):
            if one.value is None:
                found.pop(one.key, None)
            else:
                found[one.key] = one.value
        return found

    def log(self, topic: str) -> list[Record]:
        """A whole topic."""
        servers = self.broker.bootstrap_servers
        name = self.topics[topic]
        consumer = Consumer({"bootstrap.servers": servers, "group.id": uuid4().hex,
                             "enable.auto.commit": False})  # fmt: skip
        found: list[Record] = []
        try:
            partitions = consumer.list_topics(name, timeout=10).topics[name].partitions
            for number in partitions:
                at = TopicPartition(name, number, 0)
                low, high = consumer.get_watermark_offsets(at, timeout=10)
                if high <= low:
                    continue
                consumer.assign([at])
                while True:
                    message = consumer.poll(10)
                    assert message is not None, f"{name}/{number} could not be read to its end"
                    if message.error():
                        continue
                    key = (message.key() or b"").decode("utf-8", "replace")
                    at_s = message.timestamp()[1] / 1000
                    found.append(Record(key, message.value(), at_s, str(message.headers())))
                    if message.offset() >= high - 1:
                        break
        finally:
            consumer.close()
        return found

    def events(self, connection: str) -> int:
        """How many events of a connection are on Kafka."""
        return len(self.event_times(connection))

    def event_times(self, connection: str) -> list[float]:
        """When the broker took each event of a connection (Unix s)."""
        prefix = f"{TENANT}/{connection}/"
        return sorted(one.at_s for one in self.log("events") if one.key.startswith(prefix))

    def secrets(self, connection: str) -> list[str]:
        """The names of its secrets in the sealed file."""
        if not self.sealed.exists():
            return []
        key = Secret(self.credentials["seal"])
        names = SealedFile(self.sealed, lambda: key).names()
        return [name for name in names if f"/{connection}/" in f"/{name}"]

    def revealed(self) -> dict[str, str]:
        """All that is in the sealed file, by name."""
        key = Secret(self.credentials["seal"])
        file = SealedFile(self.sealed, lambda: key)
        found = {name: file.read(name) for name in file.names()}
        return {name: secret.reveal() for name, secret in found.items() if secret is not None}

    def left(self, connection: str) -> dict[str, Any]:
        """What a flow that did not end well has left behind; empty if nothing."""
        found: dict[str, Any] = {
            "webhooks": [one for vendor in self.street.vendors for one in vendor.present()],
            "secrets": self.secrets(connection),
            "records": [k for k in self.records("connections") if f"/{connection}" in f"/{k}"],
        }
        return {name: values for name, values in found.items() if values}

    def log_of(self, name: str) -> str:
        """What a process has written."""
        return self.processes[name].log_path.read_text("utf-8", "replace")


def ready(port: int) -> bool:
    """Whether a process says that it is."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def until(condition: Callable[[], bool], timeout_s: float = _EVENT_WITHIN_S) -> None:
    """Wait for something to come to pass."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass in time"
        time.sleep(0.05)
