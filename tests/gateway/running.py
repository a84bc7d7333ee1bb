"""The real gateway as a process of its own, and senders that sign as providers do."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from producer.gateway.refusal_log import LINES_A_SECOND
from producer.providers.registry import build
from tests.gateway.http_socket import Closed, Response, exchange, get, head
from tests.parts.process import Process, free_port

ROOT = Path(__file__).parents[2]

# None of these may ever stand in a log.
GITHUB_SECRET = "canary-github-secret"
HMAC_SECRET = "canary-hmac-secret"
STANDARD_SECRET = "whsec_Y2FuYXJ5LXN0YW5kYXJkLXNlY3JldC0x"
BODY_CANARY = "canary-of-the-body"
HEADER_CANARY = "canary-of-a-header"
VENDOR_SECRET = "canary-vendor-secret"
VERIFY_TOKEN = "canary-verify-token"
CANARIES = ("canary", STANDARD_SECRET[6:], "Y2FuYXJ5")

HMAC_OPTIONS = {
    "header": "x-signature",
    "timestamp_header": "x-timestamp",
    "signed": "{timestamp}.{body}",
    "event_id": "body:/id",
    "event_type": "body:/type",
    "resource_type": "literal:order",
    "resource_id": "body:/data/id",
}
# The same with another encoding, a prefix, and the time in milliseconds.
BASE64_OPTIONS = {
    **HMAC_OPTIONS,
    "algorithm": "sha512",
    "encoding": "base64",
    "prefix": "v0=",
    "timestamp_unit": "ms",
    "signed": "v0:{timestamp}:{body}",
}

IDENTITY_OPTIONS = {
    "event_id": "body:/id",
    "event_type": "body:/type",
    "resource_id": "body:/data/id",
}
#: The providers whose rules are a vendor's, and the generic token; one connection of each.
VENDOR_OPTIONS: dict[str, dict[str, Any]] = {
    "cloudevents": {"allowed_origins": ["events.example.com"], "allowed_rate": 600},
    "gitlab": {},
    "meta": {},
    "microsoft_graph": {},
    "shopify": {"shop_domain": "acme.myshopify.com"},
    "slack": {},
    "stripe": {},
    "token": IDENTITY_OPTIONS,
    "twilio": {"url": "https://hooks.example.com/webhooks/acme-twilio"},
}


class Gateway:
    """`hookline gateway` on a Kafka, small in its limits so that tests reach them."""

    def __init__(
        self, bootstrap_servers: str, folder: Path, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.port = free_port()
        self.bootstrap_servers = bootstrap_servers
        unique = uuid4().hex[:12]
        self.events_topic = f"events-{unique}"
        self.quarantine_topic = f"quarantine-{unique}"
        self.connections_topic = f"connections-{unique}"
        self.executions_topic = f"executions-{unique}"
        connections = [
            _connection("acme-github", "github", "GITHUB"),
            _connection("acme-paused", "github", "GITHUB", state="paused"),
            _connection("acme-revoked", "github", "GITHUB", state="revoked"),
            _connection("acme-standard", "standard_webhooks", "STANDARD"),
            _connection("acme-hmac", "hmac", "HMAC", options=HMAC_OPTIONS),
            _connection("acme-base64", "hmac", "HMAC", options=BASE64_OPTIONS),
            *(
                _connection(f"acme-{provider}", provider, "VENDOR", options=options)
                for provider, options in VENDOR_OPTIONS.items()
            ),
        ]
        meta = next(one for one in connections if one["id"] == "acme-meta")
        meta["secrets"].append({"name": "verify-token", "ref": "env:VERIFY_TOKEN"})
        config: dict[str, Any] = {
            "environment": "test",
            "kafka": {"bootstrap_servers": bootstrap_servers},
            "connections": connections,
            "gateway": {
                "listen": f"127.0.0.1:{self.port}",
                "max_body_bytes": 200_000,
                "read_timeout_ms": 600,
                "header_timeout_ms": 600,
            },
            "publish": {"linger_ms": 0},
            "topics": {
                "events": self.events_topic,
                "quarantine": self.quarantine_topic,
                "connections": self.connections_topic,
                "executions": self.executions_topic,
            },
            "telemetry": {"log_level": "debug"},
        }
        for room, values in (settings or {}).items():
            config.setdefault(room, {}).update(values)
        self.config_path = folder / f"{unique}.yaml"
        self.config_path.write_text(yaml.safe_dump(config))
        self.secrets = {
            "GITHUB_SECRET": GITHUB_SECRET,
            "STANDARD_SECRET": STANDARD_SECRET,
            "HMAC_SECRET": HMAC_SECRET,
            "VENDOR_SECRET": VENDOR_SECRET,
            "VERIFY_TOKEN": VERIFY_TOKEN,
        }
        self._log_path = folder / f"{unique}.log"
        self.process: Process

    def start(self) -> Gateway:
        """Start it; it need not be ready."""
        ours = ("HOOKLINE_", "OTEL_")
        environ = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        self.process = Process(
            [
                sys.executable,
                "-m",
                "hookline.command",
                "gateway",
                "--config",
                str(self.config_path),
            ],
            self._log_path,
            cwd=ROOT,
            environ=environ | self.secrets,
        )
        return self

    def __enter__(self) -> Gateway:
        # A producer that asks for a topic makes it, where the cluster does so; a mock one does.
        asking = Producer({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        asking.list_topics(self.connections_topic, timeout=10)
        self.start()
        self.process.wait_until(lambda: self.ready() == 200, "the gateway")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()

    def ready(self) -> int:
        """The status of /readyz; 0 while nobody listens."""
        try:
            return get(self.port, "/readyz").status
        except (OSError, Closed):
            return 0

    def post(self, connection: str, headers: Mapping[str, str], body: bytes) -> Response:
        """POST a webhook."""
        length = {"content-length": str(len(body))}
        return self.exchange(head(f"/webhooks/{connection}", {**headers, **length}) + body)

    def exchange(self, data: bytes) -> Response:
        """One request on a connection of its own; refusals are paced so that each is logged."""
        response = exchange(self.port, data)
        if response.status >= 400:
            time.sleep(1.1 / LINES_A_SECOND)
        return response

    def log(self) -> str:
        """All that it has written."""
        return self._log_path.read_text("utf-8", "replace")

    def lines(self, message: str) -> list[dict[str, Any]]:
        """Its log lines with this message."""
        parsed = [json.loads(line) for line in self.log().splitlines()]
        return [line for line in parsed if line["msg"] == message]

    def line_of(self, response: Response, message: str) -> dict[str, Any]:
        """The log line about the request that got this answer."""
        request_id = response.headers["x-request-id"]
        until_s = time.monotonic() + 2.0
        while time.monotonic() < until_s:
            for line in self.lines(message):
                if line.get("request_id") == request_id:
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no line {message!r} of request {request_id}")

    def metric(self, name: str, **labels: str) -> float:
        """One sample of /metrics, 0 when it is not there."""
        for line in get(self.port, "/metrics").body.decode().splitlines():
            if line.startswith(name + "{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def peak_memory_bytes(self) -> int:
        """The most that it has held at any time."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def message(self, topic: str, partition: int, offset: int) -> Message:
        """One record of the log."""
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap_servers, "group.id": "test", "log_level": 0}
        )
        try:
            consumer.assign([TopicPartition(topic, partition, offset)])
            found = consumer.poll(10.0)
            assert found is not None, f"no record at {topic}/{partition}/{offset}"
            return found
        finally:
            consumer.close()


def _connection(name: str, provider: str, secret: str, **more: Any) -> dict[str, Any]:
    secrets = [{"name": "2026-11", "ref": f"env:{secret}_SECRET"}]
    return {"id": name, "tenant": "acme", "provider": provider, "secrets": secrets, **more}


def github_body(**fields: Any) -> bytes:
    """An issue's event."""
    body = {
        "action": "opened",
        "issue": {"id": 7001, "number": 7, "title": BODY_CANARY},
        "repository": {"id": 51, "full_name": "acme/shop"},
        **fields,
    }
    return json.dumps(body).encode()


def sized_body(size_bytes: int) -> bytes:
    """An issue's event of exactly so many bytes."""
    empty = len(github_body(padding=""))
    body = github_body(padding="x" * (size_bytes - empty))
    assert len(body) == size_bytes
    return body


def github_headers(body: bytes, **changed: str) -> dict[str, str]:
    """What GitHub sends with this body, and what is changed of it."""
    provider = build("github", {})
    signed = provider.sign(
        body,
        provider.load_key(GITHUB_SECRET),
        event_id=f"delivery-{uuid4()}",
        event_type="github.issues.opened",
        now_s=time.time(),
    )
    return {**signed, **{name.replace("_", "-"): value for name, value in changed.items()}}


def signed_headers(connection: str, body: bytes, now_s: float | None = None) -> dict[str, str]:
    """What the provider of the connection sends with this body."""
    if connection == "acme-github":
        return github_headers(body)
    name, options, secret = {
        "acme-hmac": ("hmac", HMAC_OPTIONS, HMAC_SECRET),
        "acme-base64": ("hmac", BASE64_OPTIONS, HMAC_SECRET),
        "acme-standard": ("standard_webhooks", {}, STANDARD_SECRET),
    }[connection]
    provider = build(name, options)
    return dict(
        provider.sign(
            body,
            provider.load_key(secret),
            event_id=f"msg_{uuid4().hex}",
            event_type="order.paid",
            now_s=time.time() if now_s is None else now_s,
        )
    )


def vendor_request(provider: str, body: bytes, event_type: str = "a.b") -> tuple[str, bytes]:
    """Path and bytes of the whole request as this system would send it."""
    built = build(provider, VENDOR_OPTIONS[provider])
    sent = built.outgoing(
        body,
        built.load_key(VENDOR_SECRET),
        event_id=f"evt-{uuid4()}",
        event_type=event_type,
        now_s=time.time(),
    )
    path = f"/webhooks/acme-{provider}" + (f"?{sent.query}" if sent.query else "")
    headers = {**sent.headers, "content-length": str(len(sent.body))}
    return path, head(path, headers) + sent.body
