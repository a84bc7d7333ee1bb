"""How a system makes sure that the URL is ours: answered in its words, and never published."""

from __future__ import annotations

import json
import time
from urllib.parse import urlencode

import pytest

from producer.providers.registry import build
from tests.gateway.http_socket import Response, head
from tests.gateway.running import VENDOR_SECRET, VERIFY_TOKEN, Gateway, vendor_request

CLEAN = {"content-length": "0"}


def ask(
    gateway: Gateway, method: str, path: str, headers: dict[str, str] | None = None
) -> Response:
    return gateway.exchange(head(path, {**CLEAN, **(headers or {})}, method))


def handshakes(gateway: Gateway, connection: str) -> float:
    return gateway.metric("hookline_webhooks_total", connection=connection, outcome="handshake")


# Slack


def slack(challenge: object, secret: str = VENDOR_SECRET) -> bytes:
    body = json.dumps({"type": "url_verification", "challenge": challenge}).encode()
    provider = build("slack", {})
    headers = provider.sign(
        body, provider.load_key(secret), event_id="", event_type="", now_s=time.time()
    )
    length = {"content-length": str(len(body))}
    return head("/webhooks/acme-slack", {**headers, **length}) + body


def test_slacks_signed_challenge_comes_back_as_text(gateway: Gateway) -> None:
    before = handshakes(gateway, "acme-slack")
    response = gateway.exchange(slack("3eZbrw1aBm2rZgRN"))
    assert (response.status, response.body) == (200, b"3eZbrw1aBm2rZgRN")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-request-id"]
    assert gateway.line_of(response, "handshake answered")["connection"] == "acme-slack"
    assert handshakes(gateway, "acme-slack") == before + 1


def test_a_challenge_that_slack_did_not_sign_is_refused(gateway: Gateway) -> None:
    response = gateway.exchange(slack("abc", "another secret"))
    assert (response.status, response.json()["error"]) == (401, "signature_refused")


@pytest.mark.parametrize("challenge", ["", None, "ü", "x" * 2000])
def test_a_challenge_that_is_none_is_refused(gateway: Gateway, challenge: object) -> None:
    response = gateway.exchange(slack(challenge))
    assert (response.status, response.json()["error"]) == (403, "handshake_refused")


def test_a_message_about_url_verification_is_a_message(gateway: Gateway) -> None:
    body = {"type": "event_callback", "event_id": "Ev1", "event": {"type": "message", "text": ""}}
    body["event"]["text"] = "url_verification"
    _, data = vendor_request("slack", json.dumps(body).encode())
    response = gateway.exchange(data)
    assert response.status == 200
    assert gateway.line_of(response, "accepted")["event_type"] == "slack.message"


# Microsoft Graph


def test_graphs_validation_token_comes_back_decoded(gateway: Gateway) -> None:
    token = "Validation: Testing client application reachability for subscription: é+&="
    response = ask(
        gateway,
        "POST",
        "/webhooks/acme-microsoft_graph?" + urlencode({"validationToken": token}),
        {"content-type": "text/plain; charset=utf-8"},
    )
    assert (response.status, response.body.decode()) == (200, token)
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "query",
    [
        "validationToken=",
        "validationToken=a&validationToken=b",
        "validationToken=a%0d%0ab",
        "validationToken=" + "a" * 5000,
        "validationToken=a&" + "&".join(f"b{n}=" for n in range(100)),
    ],
    ids=["empty", "twice", "line break", "long", "many fields"],
)
def test_a_validation_token_that_is_none_is_refused(gateway: Gateway, query: str) -> None:
    response = ask(gateway, "POST", f"/webhooks/acme-microsoft_graph?{query}")
    assert (response.status, response.json()["error"]) == (403, "handshake_refused")


# Meta


def meta(**changed: str) -> str:
    fields = {
        "hub.mode": "subscribe",
        "hub.challenge": "1158201444",
        "hub.verify_token": VERIFY_TOKEN,
        **{name.replace("hub_", "hub."): value for name, value in changed.items()},
    }
    return "/webhooks/acme-meta?" + urlencode(fields)


def test_metas_challenge_comes_back_for_the_verify_token(gateway: Gateway) -> None:
    response = ask(gateway, "GET", meta())
    assert (response.status, response.body) == (200, b"1158201444")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "changed",
    [
        {"hub_verify_token": "wrong"},
        {"hub_verify_token": ""},
        {"hub_verify_token": VENDOR_SECRET},
        {"hub_mode": "unsubscribe"},
        {"hub_challenge": ""},
        {"hub_challenge": "<script>"},
        {"hub_challenge": "1" * 300},
    ],
    ids=lambda changed: "-".join(changed)[:20],
)
def test_a_handshake_of_meta_that_is_not_ours_is_refused(
    gateway: Gateway, changed: dict[str, str]
) -> None:
    response = ask(gateway, "GET", meta(**changed))
    assert (response.status, response.json()["error"]) == (403, "handshake_refused")
    twice = ask(gateway, "GET", meta() + "&hub.verify_token=x")
    assert twice.status == 403


# CloudEvents


def test_an_allowed_origin_gets_its_permission(gateway: Gateway) -> None:
    asked = {"webhook-request-origin": "Events.example.com", "webhook-request-rate": "120"}
    response = ask(gateway, "OPTIONS", "/webhooks/acme-cloudevents", asked)
    assert (response.status, response.body) == (200, b"")
    assert response.headers["webhook-allowed-origin"] == "Events.example.com"
    assert response.headers["webhook-allowed-rate"] == "600"
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("origin", ["evil.example.com", "", "a b", "a" * 300, "ü.example"])
def test_another_origin_gets_none(gateway: Gateway, origin: str) -> None:
    response = ask(
        gateway, "OPTIONS", "/webhooks/acme-cloudevents", {"webhook-request-origin": origin}
    )
    # What is not ASCII the server hands over as no header at all.
    assert response.status == (403 if origin.isascii() else 405)
    assert "webhook-allowed-origin" not in response.headers


# Whoever has no handshake


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/webhooks/acme-github?hub.mode=subscribe&hub.challenge=1&hub.verify_token=x"),
        ("GET", "/webhooks/never-heard-of?hub.mode=subscribe&hub.challenge=1"),
        ("GET", "/webhooks/acme-meta"),
        ("GET", "/webhooks/acme-meta?x=y"),
        ("OPTIONS", "/webhooks/acme-cloudevents"),
        ("OPTIONS", "/webhooks/acme-meta"),
        ("GET", "/webhooks/acme-cloudevents"),
        ("GET", "/webhooks/acme-microsoft_graph?validationToken=a"),
        ("PUT", "/webhooks/acme-slack"),
    ],
)
def test_what_is_no_handshake_is_not_allowed(gateway: Gateway, method: str, path: str) -> None:
    response = ask(gateway, method, path)
    assert response.status == 405
    assert response.headers["allow"] == "POST"


def test_a_validation_token_says_nothing_of_another_connection(gateway: Gateway) -> None:
    assert ask(gateway, "POST", "/webhooks/nobody?validationToken=a").status == 404
    response = ask(gateway, "POST", "/webhooks/acme-github?validationToken=a")
    assert (response.status, response.json()["error"]) == (401, "signature_missing")
