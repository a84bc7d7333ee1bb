"""`hookline demo`: real processes on an embedded broker, shown live, then checked."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import queue
import random
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import yaml
from confluent_kafka import Producer
from rich.console import Console
from rich.live import Live

from hookline.demo.children import Child, Line, command_environ
from hookline.demo.people import People, free_port
from hookline.demo.screen import Picture, waterfall
from hookline.demo.traffic import Sender, Sent, plan, send
from hookline.demo.verdict import judge, read_effects
from producer.providers.registry import build
from schemas.errors import HooklineError

_HMAC_OPTIONS = {
    "header": "x-shop-signature",
    "prefix": "sha256=",
    "event_id": "body:/id",
    "event_type": "body:/type",
    "resource_type": "literal:order",
    "resource_id": "body:/data/id",
    "occurred_at": "body:/created_at",
}
_TOPICS = (
    "events", "quarantine", "dead_letters", "connections", "executions", "tokens", "audit",
    "connect_sessions",
)  # fmt: skip
_CONNECTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("northwind-github", "github", {}),
    ("northwind-billing", "standard_webhooks", {}),
    ("northwind-shop", "hmac", _HMAC_OPTIONS),
)


class DemoFailed(HooklineError):
    """The demo could not be run to its end."""


@click.command("demo")
@click.option("--kafka", metavar="HOST:PORT", help="Use this Kafka, not the embedded broker.")
@click.option("--events", default=240, show_default=True, help="How many different webhooks.")
@click.option("--rate", default=60.0, show_default=True, help="How many a second.")
@click.option("--seed", type=int, help="Send the same webhooks again.")
@click.option(
    "--keep/--no-keep",
    default=None,
    help="Leave everything running at the end, until Ctrl-C; so it is in a terminal.",
)
def command(
    kafka: str | None, events: int, rate: float, seed: int | None, keep: bool | None
) -> None:
    """Show what Hookline does, on this machine, in under a minute; exit code 0 if all held."""
    console = Console()
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    with (
        tempfile.TemporaryDirectory(prefix="hookline-demo-") as folder,
        contextlib.ExitStack() as s,
    ):
        demo = _Demo(console, Path(folder), kafka or s.enter_context(_embedded_broker()), s)
        held = demo.run(events, rate, random.Random(seed))
        held = demo.by_hand() and held
        console.print(f"[dim]seed {seed}[/]")
        if console.is_terminal if keep is None else keep:
            demo.keep()
        else:
            console.print("It ends here; `make demo DEMO_ARGS=--keep` leaves it running for you.")
    sys.exit(0 if held else 1)


class _Demo:
    def __init__(
        self, console: Console, folder: Path, kafka: str, cleanup: contextlib.ExitStack
    ) -> None:
        self._console = console
        self._cleanup = cleanup
        self._store = folder / "demo.db"
        self._config = folder / "hookline.yaml"
        self._port, self._health_port = free_port(), free_port()
        self._url = f"http://127.0.0.1:{self._port}"
        self._people = People(folder, self._url)
        self._children: list[Child] = []
        self._lines: queue.Queue[Line] = queue.Queue()
        self._kafka = kafka
        self._secrets: dict[str, str] = {}
        self._senders: list[Sender] = []
        self._configure()

    def _configure(self) -> None:
        connections = []
        for name, provider, options in _CONNECTIONS:
            variable = f"DEMO_{provider.upper()}_SECRET"
            # The form that Standard Webhooks asks for; the others take any text.
            value = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
            self._secrets[variable] = value
            self._senders.append(Sender(name, build(provider, options), value))
            connections.append(
                {
                    "id": name,
                    "tenant": "northwind",
                    "provider": provider,
                    "secrets": [{"name": "demo", "ref": f"env:{variable}"}],
                    **({"options": options} if options else {}),
                }
            )
        # The embedded broker speaks the classic protocol only.
        properties = {"group.protocol": "classic"} if self._kafka.startswith("127.") else {}
        prefix = f"hookline.demo.{secrets.token_hex(4)}"
        self._topics = {name: f"{prefix}.{name}" for name in _TOPICS}
        settings = {
            "environment": "demo",
            "kafka": {"bootstrap_servers": self._kafka, "properties": properties},
            "connections": connections,
            "gateway": {"listen": f"127.0.0.1:{self._port}"},
            "topics": {**self._topics, "partitions": 4},
            "consumer": {
                "group": prefix,
                "handlers": "hookline.demo.handlers:handlers",
                "store": f"sqlite:///{self._store}",
                "listen": f"127.0.0.1:{self._health_port}",
            },
            "telemetry": {"log_level": "debug", "log_format": "json"},
            **self._people.settings(prefix),
        }
        self._secrets |= self._people.secrets
        self._config.write_text(yaml.safe_dump(settings, sort_keys=False))

    def run(self, events: int, rate: float, draw: random.Random) -> bool:
        environ = command_environ(self._secrets)
        config = ["--config", str(self._config)]
        if not self._kafka.startswith("127."):
            topics = Child("topics", ["topics", "apply", *config], environ, self._lines)
            self._cleanup.callback(topics.stop)
            self._wait(lambda: topics.code is not None, [], "creating the topics")
        else:
            # The embedded broker makes a topic that a producer asks for; who only reads does not.
            asking = Producer({"bootstrap.servers": self._kafka})
            for topic in self._topics.values():
                asking.list_topics(topic, timeout=10)
        with self._console.status("Starting the gateway and the consumer …"):
            children = self._start("gateway", "consumer")
            self._wait(lambda: self._ready(self._port), children, "the gateway")
            self._wait(lambda: self._ready(self._health_port), children, "the consumer")
        webhooks = plan(self._senders, events, 0.15, draw, time.time())
        picture = Picture(len(webhooks))
        sent: list[Sent] = []
        sending = threading.Thread(
            target=lambda: asyncio.run(send(self._url, webhooks, rate, sent.append)), daemon=True
        )
        with Live(picture.show(), console=self._console, refresh_per_second=8) as live:
            sending.start()
            quiet_since = time.monotonic()
            while sending.is_alive() or not self._settled(picture, sent, quiet_since):
                if self._take_lines(picture):
                    quiet_since = time.monotonic()
                live.update(picture.show())
                self._check_running(children)
            live.update(picture.show())
        return self._conclude(picture, sent)

    def by_hand(self) -> bool:
        """Start what people look at, and say where; whether the page to connect on is there."""
        with self._console.status("Starting the console …"):
            self._cleanup.enter_context(self._people)
            children = self._start("monitor", "console")
            self._wait(lambda: self._ready(self._people.port), children, "the console")
            links = self._people.links(self._config, command_environ(self._secrets))
        self._console.print("\n[bold]Now by hand[/]")
        for text in links.texts():
            self._console.print(f"  {text}", soft_wrap=True)
        return links.served

    def keep(self) -> None:
        """Wait for Ctrl-C while the processes go on."""
        self._console.print(
            f"\nStill running: {self._url} takes webhooks (logs are not shown). Ctrl-C ends it."
        )
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                self._take_lines(Picture(0))

    def _start(self, *names: str) -> list[Child]:
        """These commands, stopped with the demo; all that run by now."""
        for name in names:
            arguments = [name, "--config", str(self._config)]
            child = Child(name, arguments, command_environ(self._secrets), self._lines)
            self._cleanup.callback(child.stop)
            self._children.append(child)
        return self._children

    def _settled(self, picture: Picture, sent: list[Sent], quiet_since: float) -> bool:
        answered = sum(s.status == 200 for s in sent)
        done = picture.outcomes.total() >= answered and len(picture.accepted) >= answered
        return done or time.monotonic() - quiet_since > 10.0

    def _take_lines(self, picture: Picture) -> bool:
        """Wait a moment for log lines and take in all there are; whether there were any."""
        try:
            picture.take(*self._lines.get(timeout=0.1))
            while True:
                picture.take(*self._lines.get_nowait())
        except queue.Empty:
            return not self._lines.empty()

    def _conclude(self, picture: Picture, sent: list[Sent]) -> bool:
        effects = read_effects(self._store)
        for request_id in reversed(list(picture.accepted)):
            ended = picture.ended.get(request_id)
            if ended is not None and ended["outcome"] == "applied":
                waterfall(self._console, picture.accepted[request_id], ended)
                break
        claims = judge(sent, effects, picture)
        self._console.print("\n[bold]Checked[/]")
        for claim in claims:
            mark = "[green]✓[/]" if claim.holds else "[bold red]✗[/]"
            self._console.print(f"  {mark} {claim.text}")
        for trouble in picture.trouble:
            self._console.print(f"  [red]{trouble}[/]")
        return all(claim.holds for claim in claims)

    def _wait(self, done: Any, children: list[Child], what: str, within_s: float = 30.0) -> None:
        deadline_s = time.monotonic() + within_s
        while not done():
            self._check_running(children)
            if time.monotonic() > deadline_s:
                raise DemoFailed(f"{what} was not ready within {within_s:g} s")
            time.sleep(0.05)

    def _check_running(self, children: list[Child]) -> None:
        for child in children:
            if child.code is not None:
                child.stop()
                said = [str(line.get("msg")) for _, line in list(self._lines.queue)][-5:]
                detail = "\n".join([*child.noise[-10:], *said])
                raise DemoFailed(f"the {child.name} ended with code {child.code}:\n{detail}")

    def _ready(self, port: int) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=1).status_code == 200
        except httpx.TransportError:
            return False


@contextlib.contextmanager
def _embedded_broker() -> Iterator[str]:
    """librdkafka's mock cluster: real Kafka protocol, in memory, for as long as this runs."""
    broker = Producer({"bootstrap.servers": "unused:1", "test.mock.num.brokers": 1, "log_level": 0})
    (address,) = broker.list_topics(timeout=10).brokers.values()
    yield f"127.0.0.1:{address.port}"
    del broker
