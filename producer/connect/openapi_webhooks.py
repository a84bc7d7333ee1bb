"""What a document says of the webhooks that its API sends: their names, their signature."""

from __future__ import annotations

import re
from typing import Any, Final

from producer.connect.openapi_document import Document, clean

_EVENT: Final = re.compile(r"[A-Za-z0-9_.:/ -]{1,100}")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,100}")
_IDS: Final = ("id", "event_id", "eventId", "uuid", "webhook_id", "delivery_id")
_TYPES: Final = ("type", "event", "event_type", "eventType", "topic", "name", "action")
_MANY: Final = 50


def webhook(document: Document, notes: list[str]) -> dict[str, Any]:
    """The entry's `webhook`: registered by hand, verified by what the document shows."""
    found = document.webhooks()
    events = [name for name in found if _EVENT.fullmatch(name)][:_MANY]
    if found:
        notes.append(f"It sends {len(found)} webhooks; {len(events)} are named under `events`.")
    else:
        notes.append("It names no webhooks: look in the documentation what it sends.")
    headers = {
        name.lower(): name
        for operation in found.values()
        for name in _header_names(document, operation)
    }
    provider, options, secret = _proof(headers, notes)
    if provider != "standard_webhooks":
        options |= _identity(document, list(found.values()), headers)
    for operation in document.operations():
        last = operation.path.rstrip("/").rsplit("/", 1)[-1].lower()
        if operation.method == "post" and last in ("webhooks", "hooks", "webhook_subscriptions"):
            path = clean(operation.path, 200)
            notes.append(f"POST {path} seems to make webhooks: `how: api` would spare the steps.")
            break
    return {
        "provider": provider,
        "options": options,
        "secret": secret,
        "registration": _registration(secret, events),
        "test": {
            "how": "customer",
            "optional": True,
            "wait_s": 600,
            "guidance": [
                {"text": 'Where you added the webhook, press "Send test" or "Send example".'},
                {
                    "text": "If there is no such button, do something in the other system that it "
                    "sends an event for."
                },
            ],
        },
    }


def _header_names(document: Document, operation: dict[str, Any]) -> list[str]:
    names = [
        str(one.get("name"))
        for one in document.parameters(operation)
        if one.get("in") == "header" and isinstance(one.get("name"), str)
    ]
    return [name for name in names if _HEADER.fullmatch(name)]


def _proof(headers: dict[str, str], notes: list[str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Provider, options and secret, by the headers that the webhooks are said to have."""
    if "webhook-signature" in headers or "svix-signature" in headers:
        notes.append("Its webhooks have the headers of Standard Webhooks.")
        return "standard_webhooks", {}, _pasted("whsec")
    signed = next((name for name in headers if "signature" in name or "hmac" in name), None)
    if signed is None:
        notes.append("It shows no signature: webhooks are believed by a token in a header.")
        options = {"scheme": "header", "header": "X-Webhook-Token"}
        return "token", options, {"source": "generated", "format": "hex"}
    options = {"header": headers[signed]}
    if signed.startswith("x-hub-signature"):
        options["prefix"] = "sha256="
    notes.append(
        f"Its webhooks are signed in {headers[signed]}; look in the documentation for algorithm, "
        "encoding, prefix and what is signed, and write them under `options`."
    )
    return "hmac", options, _pasted("text")


def _pasted(form: str) -> dict[str, Any]:
    return {"source": "field", "format": form, "field": "webhook_secret"}


def _identity(
    document: Document, operations: list[dict[str, Any]], headers: dict[str, str]
) -> dict[str, str]:
    properties: dict[str, Any] = {}
    for operation in operations[:20]:
        properties |= document.properties(document.body_schema(operation))
    by_header = next((n for n in headers if n.endswith(("-id", "-delivery"))), None)
    event_id = next((f"body:/{name}" for name in _IDS if name in properties), None)
    if event_id is None:
        event_id = f"header:{headers[by_header]}" if by_header else "body:/id"
    event_type = next((f"body:/{name}" for name in _TYPES if name in properties), "body:/type")
    return {"event_id": event_id, "event_type": event_type}


def _registration(secret: dict[str, Any], events: list[str]) -> dict[str, Any]:
    guidance = [
        "In the other system open the page for webhooks and add one, sometimes called an endpoint.",
        "Copy the address from here into its field for the URL. If it asks for the format, choose "
        "JSON.",
        "Choose which events it sends, and save it.",
    ]
    fields: list[dict[str, Any]] = []
    if secret["source"] == "field":
        guidance.append("Copy the signing secret that it shows into the field here.")
        fields.append(
            {
                "id": "webhook_secret",
                "label": "Signing secret",
                "help": "The other system shows it beside the webhook that you have just added.",
                "pattern": "[!-~]{8,500}",
                "mismatch": "Copy all of it, without spaces.",
                "kind": "secret",
                "secret": True,
            }
        )
    else:
        guidance.insert(
            2,
            "Where it lets you add a header of your own, write X-Webhook-Token as its name and "
            "copy the secret that is shown here as its value.",
        )
    return {
        "how": "manual",
        "events": events,
        "guidance": [{"text": text} for text in guidance],
        "fields": fields,
    }
