"""What an accepted webhook's sender, the log and the log file see of it."""

from __future__ import annotations

import json
import re

import pytest

from schemas import request_id as request_ids
from schemas.codec import DEAD_LETTER, EVENT
from tests.gateway.http_socket import chunked, head
from tests.gateway.running import (
    BODY_CANARY,
    HEADER_CANARY,
    Gateway,
    github_body,
    github_headers,
    signed_headers,
)


def test_the_answer_names_the_request_and_its_timings(gateway: Gateway) -> None:
    body = github_body()
    response = gateway.post("acme-github", github_headers(body), body)
    assert response.status == 200
    request_id = response.headers["x-request-id"]
    assert response.json() == {"request_id": request_id}
    assert len(request_ids.parse(request_id)) == 16
    assert response.headers["server"] == "hookline"
    steps = re.findall(r"(\w+);dur=([\d.]+)", response.headers["server-timing"])
    assert [name for name, _ in steps] == ["verify", "encode", "publish", "total"]
    assert all(0 < float(ms) < 10_000 for _, ms in steps)


def test_the_log_holds_the_event_where_the_log_line_says(gateway: Gateway) -> None:
    body = github_body()
    headers = github_headers(body, user_agent=HEADER_CANARY)
    response = gateway.post("acme-github", headers, body)
    line = gateway.line_of(response, "accepted")
    assert line["connection"] == "acme-github"
    assert line["secret_name"] == "2026-11"
    assert list(line["steps"]) == [
        *("read_ms", "verify_ms", "identify_ms"),
        *("encode_ms", "publish_ms", "total_ms"),
    ]
    message = gateway.message(gateway.events_topic, line["partition"], line["offset"])
    event = EVENT.decode(message.value())
    assert message.key().decode() == event.resource_key == line["resource_key"]
    assert event.resource_key == "acme/acme-github/issue/51#7"
    assert event.payload == body
    assert event.request_id.hex() == response.headers["x-request-id"]
    assert event.event_id == headers["x-github-delivery"] == line["event_id"]
    assert event.environment == "test"
    assert event.headers["x-github-event"] == "issues"
    assert not {"x-hub-signature-256", "user-agent"} & set(event.headers)
    assert min(event.read_ns, event.verify_ns, event.identify_ns) > 0


def test_the_record_carries_the_request_id_as_an_unsampled_trace(gateway: Gateway) -> None:
    body = github_body()
    headers = github_headers(body, traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01")
    response = gateway.post("acme-github", headers, body)
    line = gateway.line_of(response, "accepted")
    message = gateway.message(gateway.events_topic, line["partition"], line["offset"])
    carried = {name: value.decode() for name, value in message.headers()}
    request_id = response.headers["x-request-id"]
    assert carried["hookline-request-id"] == request_id
    assert carried["hookline-event-type"] == "github.issues.opened"
    assert re.fullmatch(f"00-{request_id}-[0-9a-f]{{16}}-00", carried["traceparent"])


@pytest.mark.parametrize("connection", ["acme-standard", "acme-hmac", "acme-base64"])
def test_the_other_providers_are_accepted_too(gateway: Gateway, connection: str) -> None:
    body = json.dumps(
        {"id": "evt_1", "type": "order.paid", "data": {"id": "order-1", "note": BODY_CANARY}}
    ).encode()
    headers = signed_headers(connection, body)
    assert gateway.post(connection, headers, body).status == 200


def test_a_chunked_body_is_accepted(gateway: Gateway) -> None:
    body = github_body(padding="x" * 50_000)
    headers = {**github_headers(body), "transfer-encoding": "chunked"}
    response = gateway.exchange(head("/webhooks/acme-github", headers) + chunked(body, 1_000))
    assert response.status == 200
    line = gateway.line_of(response, "accepted")
    message = gateway.message(gateway.events_topic, line["partition"], line["offset"])
    assert EVENT.decode(message.value()).payload == body


@pytest.mark.parametrize("connection", ["acme-github", "acme-standard", "acme-hmac"])
@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe not UTF-8 canary-of-the-body",
        b"canary-of-the-body, not JSON",
        b"",
        b'{"action": "opened", "issue": ' + b"[" * 90_000 + b"]" * 90_000 + b"}",
        b"[" * 190_000,
        b'{"id": ["canary"], "type": 5, "action": 5, "data": 7, "issue": "canary-of-the-body"}',
    ],
    ids=["not UTF-8", "not JSON", "empty", "deeply nested", "unclosed", "other types"],
)
def test_what_is_authentic_but_unreadable_is_kept_whole_and_answered_200(
    gateway: Gateway, connection: str, body: bytes
) -> None:
    response = gateway.post(connection, signed_headers(connection, body), body)
    assert response.status == 200
    line = gateway.line_of(
        response, "quarantined: authentic, but the provider's rules cannot read it"
    )
    message = gateway.message(gateway.quarantine_topic, line["partition"], line["offset"])
    letter = DEAD_LETTER.decode(message.value())
    assert letter.value == body
    assert letter.stage == "GATEWAY"
    assert letter.reason == line["reason"]
    assert letter.request_id == bytes.fromhex(response.headers["x-request-id"])
    assert letter.connection == message.key().decode() == connection
    assert gateway.metric("hookline_quarantined_total", reason=letter.reason) >= 1


def test_metrics_say_which_secret_verified(gateway: Gateway) -> None:
    labels = {"connection": "acme-github", "secret_name": "2026-11"}
    before = gateway.metric("hookline_signature_verified_total", **labels)
    body = github_body()
    gateway.post("acme-github", github_headers(body), body)
    assert gateway.metric("hookline_signature_verified_total", **labels) == before + 1
