"""Each vendor's webhook over a real socket, and requests that hold several events."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from credentials.key_ring import Key, KeyRing
from producer.gateway.answers import Answer
from producer.gateway.connections import ConnectionTable, Entry
from producer.gateway.gateway_metrics import GatewayMetrics
from producer.gateway.receiver import Receiver
from producer.gateway.tracing import GatewayTracing
from producer.providers.registry import build
from schemas.codec import DEAD_LETTER, EVENT
from schemas.connection import Connection, ConnectionState, SecretReference
from schemas.errors import Overloaded, PublishError
from tests.gateway.http_socket import head
from tests.gateway.running import (
    ROOT,
    VENDOR_OPTIONS,
    VENDOR_SECRET,
    Gateway,
    vendor_request,
)
from tests.providers.http_request import PAYLOADS, RepeatableHeaders

QUARANTINED = "quarantined: authentic, but the provider's rules cannot read it"
FILES = {
    "cloudevents": "order.placed.json",
    "gitlab": "issue.open.json",
    "meta": "whatsapp.message.json",
    "microsoft_graph": "message.created.json",
    "shopify": "orders.create.json",
    "slack": "message.json",
    "stripe": "invoice.paid.json",
    "token": "order.created.json",
    "twilio": "message.received.form",
}


def body_of(provider: str, file: str | None = None) -> bytes:
    return (PAYLOADS / provider / (file or FILES[provider])).read_bytes()


def lines_of(gateway: Gateway, request_id: str, message: str) -> list[dict[str, Any]]:
    return [line for line in gateway.lines(message) if line.get("request_id") == request_id]


def changed(provider: str, **fields: str) -> bytes:
    """The request with some headers changed."""
    path, data = vendor_request(provider, body_of(provider))
    first, _, body = data.partition(b"\r\n\r\n")
    lines = [line.split(b": ", 1) for line in first.split(b"\r\n")[2:]]
    headers = {name.decode(): value.decode("latin-1") for name, value in lines}
    return head(path, headers | {n.replace("_", "-"): v for n, v in fields.items()}) + body


@pytest.mark.parametrize("provider", FILES)
def test_what_the_system_sends_is_in_the_log_and_no_secret_of_it(
    gateway: Gateway, provider: str
) -> None:
    _, data = vendor_request(provider, body_of(provider), "shopify.orders.create")
    response = gateway.exchange(data)
    assert response.status == 200
    line = gateway.line_of(response, "accepted")
    message = gateway.message(gateway.events_topic, line["partition"], line["offset"])
    event = EVENT.decode(message.value())
    assert event.provider == provider
    assert event.event_type.startswith(f"{provider}.")
    assert event.request_id.hex() == response.headers["x-request-id"]
    assert message.key().decode() == event.resource_key
    assert VENDOR_SECRET.encode() not in message.value()
    if provider not in ("meta", "microsoft_graph"):
        assert event.payload == body_of(provider)


def test_an_answer_is_in_the_words_that_the_system_understands(gateway: Gateway) -> None:
    slack = gateway.exchange(vendor_request("slack", body_of("slack"))[1])
    assert (slack.status, slack.body) == (200, b"")
    twilio = gateway.exchange(vendor_request("twilio", body_of("twilio"))[1])
    assert twilio.headers["content-type"] == "text/xml; charset=utf-8"
    assert twilio.body.endswith(b"<Response/>")
    assert "total;dur=" in twilio.headers["server-timing"]


def test_a_webhook_for_another_connection_of_the_same_system_is_refused(gateway: Gateway) -> None:
    _, data = vendor_request("stripe", body_of("stripe"))
    elsewhere = data.replace(b"/webhooks/acme-stripe", b"/webhooks/acme-hmac", 1)
    assert gateway.exchange(elsewhere).status == 401
    shop = changed("shopify", x_shopify_shop_domain="other.myshopify.com")
    assert gateway.exchange(shop).json()["error"] == "signature_refused"


@pytest.mark.parametrize("provider", FILES)
def test_authentic_and_unreadable_is_quarantined(gateway: Gateway, provider: str) -> None:
    garbled = {
        "microsoft_graph": b'{"value":[{"resource":"users/1","changeType":"no type"}]}',
        "cloudevents": b'{"specversion":"7"}',
    }.get(provider, b"canary-of-the-body, and neither JSON nor of any form")
    response = gateway.exchange(vendor_request(provider, garbled, "no type at all")[1])
    assert response.status == 200
    line = gateway.line_of(response, QUARANTINED)
    message = gateway.message(gateway.quarantine_topic, line["partition"], line["offset"])
    letter = DEAD_LETTER.decode(message.value())
    assert letter.reason == line["reason"]
    assert VENDOR_SECRET.encode() not in message.value()


def test_each_event_of_a_request_is_one_of_the_log(gateway: Gateway) -> None:
    body = body_of("microsoft_graph", "three_notifications.json")
    response = gateway.exchange(vendor_request("microsoft_graph", body)[1])
    assert response.status == 200
    gateway.line_of(response, "accepted")
    request_id = response.headers["x-request-id"]
    lines = lines_of(gateway, request_id, "accepted")
    assert len(lines) == 3
    events = []
    for line in lines:
        message = gateway.message(gateway.events_topic, line["partition"], line["offset"])
        events.append(EVENT.decode(message.value()))
        assert b"canary" not in message.value()
    assert {event.request_id.hex() for event in events} == {request_id}
    assert [event.event_type.rpartition(".")[2] for event in events] == [
        *("created", "updated", "deleted")
    ]
    whole = json.loads(body)["value"]
    assert [json.loads(event.payload)["value"] for event in events] == [[one] for one in whole]
    assert events[0].resource_key == events[2].resource_key


def test_one_that_cannot_be_read_among_others_is_set_aside_alone(gateway: Gateway) -> None:
    good = json.loads(body_of("cloudevents"))
    batch = json.dumps([good, {"specversion": "1.0", "canary": 1}, {**good, "id": "2"}]).encode()
    response = gateway.exchange(vendor_request("cloudevents", batch)[1])
    assert response.status == 200
    line = gateway.line_of(response, QUARANTINED)
    assert len(lines_of(gateway, response.headers["x-request-id"], "accepted")) == 2
    message = gateway.message(gateway.quarantine_topic, line["partition"], line["offset"])
    assert json.loads(DEAD_LETTER.decode(message.value()).value) == {
        "specversion": "1.0",
        "canary": 1,
    }


def test_a_request_of_no_events_is_taken(gateway: Gateway) -> None:
    assert gateway.exchange(vendor_request("cloudevents", b"[]")[1]).status == 200


# Acknowledgements that come late or not at all, which a real broker does not do to order.


class Position:
    partition, offset = 0, 7


class Sink:
    """Hands out futures that the test settles; raises at the call that it is told."""

    in_flight = in_flight_bytes = 0

    def __init__(self, full_at: int | None = None) -> None:
        self.failures: Counter[str] = Counter()
        self.full_at = full_at
        self.futures: list[asyncio.Future[Position]] = []

    def publish(self, topic: str, key: bytes, value: bytes, headers: object) -> Any:
        if len(self.futures) == self.full_at:
            raise Overloaded("full")
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]


def begin(sink: Sink) -> asyncio.Future[Any]:
    provider = build("microsoft_graph", {})
    key = Key("2026-11", provider.load_key("s"))
    reference = SecretReference(name="2026-11", ref="env:X")
    connection = Connection(
        id="c",
        tenant="t",
        provider="microsoft_graph",
        environment="test",
        secrets=(reference,),
        options={},
        state=ConnectionState.ACTIVE,
    )
    receiver = Receiver(
        environment="test",
        connections=ConnectionTable(
            "test", [Entry(connection, provider, KeyRing([(reference, key)]))]
        ),
        sink=sink,
        events_topic="events",
        quarantine_topic="quarantine",
        tracing=GatewayTracing(0),
        metrics=GatewayMetrics(sink),
    )
    sent = provider.outgoing(
        body_of("microsoft_graph", "three_notifications.json"),
        key.material,
        event_id="",
        event_type="",
        now_s=0,
    )
    headers = RepeatableHeaders(sent.headers.items())
    taken = receiver.receive("c", headers, sent.body, 0)
    assert not isinstance(taken, Answer)
    return taken.future


def test_200_waits_for_the_last_acknowledgement() -> None:
    async def run() -> None:
        sink = Sink()
        answering = begin(sink)
        await asyncio.sleep(0)
        for future in sink.futures[::-1]:
            assert not answering.done()
            future.set_result(Position())
            await asyncio.sleep(0)
        assert len(sink.futures) == 3
        assert (await answering).status == 200

    asyncio.run(run())


@pytest.mark.parametrize("at", [0, 1, 2])
def test_one_that_is_not_acknowledged_refuses_the_whole_request(at: int) -> None:
    async def run() -> None:
        sink = Sink()
        answering = begin(sink)
        await asyncio.sleep(0)
        for n, future in enumerate(sink.futures):
            if n == at:
                future.set_exception(PublishError("lost"))
            else:
                future.set_result(Position())
        assert (await answering).status == 503

    asyncio.run(run())


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_queue_that_is_full_in_the_middle_refuses_the_whole_request(at: int) -> None:
    async def run() -> None:
        sink = Sink(full_at=at)
        answering = begin(sink)
        await asyncio.sleep(0)
        for future in sink.futures:
            assert not answering.done()
            future.set_result(Position())
        answer = await answering
        assert answer.status == 503
        assert ("retry-after", "2") in answer.headers

    asyncio.run(run())


def test_hookline_send_signs_for_every_system(gateway: Gateway) -> None:
    environ = {**os.environ, **gateway.secrets}
    for provider in VENDOR_OPTIONS:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "hookline.command", "send"),
                *("--config", str(gateway.config_path), "--connection", f"acme-{provider}"),
                *("--count", "3"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            env=environ,
        )
        assert done.returncode == 0, provider + done.stdout + done.stderr
        assert "3 answered 200" in done.stdout
        assert "canary" not in done.stdout + done.stderr
