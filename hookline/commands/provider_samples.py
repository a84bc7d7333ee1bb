"""Realistic webhooks of the systems with a format of their own, with invented names and ids."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from hookline.commands.sample_parts import PEOPLE, Sample, in_json, iso, some_uuid

_STATES: Final = ("open", "update", "close", "reopen")
_INVOICES: Final = ("created", "finalized", "paid", "voided")
_ORDERS: Final = ("create", "updated", "paid", "fulfilled")
_MESSAGES: Final = ("queued", "sent", "delivered", "undelivered")


def _gitlab(draw: random.Random, now_s: float, entities: int) -> Sample:
    number = draw.randint(1, entities)
    action = draw.choice(_STATES)
    person = draw.choice(PEOPLE)
    body = {
        "object_kind": "issue",
        "event_type": "issue",
        "user": {"id": 70 + PEOPLE.index(person), "username": person},
        "project": {
            "id": 51_001,
            "path_with_namespace": "northwind/shop",
            "default_branch": "main",
        },
        "object_attributes": {
            "id": 51_001_000 + number,
            "iid": number,
            "title": f"Checkout fails for basket {number}",
            "state": "closed" if action == "close" else "opened",
            "action": action,
            "created_at": iso(now_s - 86_400),
            "updated_at": iso(now_s),
        },
        "labels": [{"id": 7, "title": "bug"}],
    }
    return in_json(str(some_uuid(draw)), f"gitlab.issue.{action}", body)


def _stripe(draw: random.Random, now_s: float, entities: int) -> Sample:
    number = draw.randint(1, entities)
    state = draw.choice(_INVOICES)
    event_id = f"evt_{some_uuid(draw).hex[:24]}"
    body = {
        "id": event_id,
        "object": "event",
        "api_version": "2026-09-30",
        "created": int(now_s),
        "livemode": False,
        "pending_webhooks": 1,
        "type": f"invoice.{state}",
        "data": {
            "object": {
                "id": f"in_northwind{number:04d}",
                "object": "invoice",
                "customer": f"cus_northwind{number % 5:03d}",
                "amount_due": draw.randint(500, 90_000),
                "currency": "eur",
                "status": "paid" if state == "paid" else "open",
            }
        },
    }
    return in_json(event_id, f"stripe.invoice.{state}", body)


def _shopify(draw: random.Random, now_s: float, entities: int) -> Sample:
    number = draw.randint(1, entities)
    state = draw.choice(_ORDERS)
    body = {
        "id": 5_100_200_300 + number,
        "name": f"#{1000 + number}",
        "email": f"{draw.choice(PEOPLE)}@example.com",
        "created_at": iso(now_s - 3600),
        "updated_at": iso(now_s),
        "currency": "EUR",
        "total_price": f"{draw.randint(900, 40_000) / 100:.2f}",
        "financial_status": "paid" if state == "paid" else "pending",
        "line_items": [{"id": 900 + n, "sku": f"SKU-{n}", "quantity": 1} for n in range(2)],
    }
    return in_json(str(some_uuid(draw)), f"shopify.orders.{state}", body)


def _slack(draw: random.Random, now_s: float, entities: int) -> Sample:
    event_id = f"Ev{some_uuid(draw).hex[:9].upper()}"
    moment = f"{int(now_s)}.{draw.randint(0, 999_999):06d}"
    body = {
        "team_id": "T0NORTHWIND",
        "api_app_id": "A0HOOKLINE",
        "type": "event_callback",
        "event_id": event_id,
        "event_time": int(now_s),
        "event": {
            "type": "message",
            "channel": f"C0CHANNEL{draw.randint(1, entities):03d}",
            "user": f"U0{draw.choice(PEOPLE).upper()}",
            "text": "Is the night's import through?",
            "ts": moment,
            "event_ts": moment,
        },
    }
    return in_json(event_id, "slack.message", body)


def _twilio(draw: random.Random, now_s: float, entities: int) -> Sample:
    number = draw.randint(1, entities)
    status = draw.choice(_MESSAGES)
    fields = {
        "AccountSid": "AC" + "0" * 31 + "1",
        "ApiVersion": "2010-04-01",
        "From": "+15005550006",
        "To": f"+1500555{number:04d}",
        "MessageSid": f"SM{some_uuid(draw).hex}",
        "MessageStatus": status,
        "SmsStatus": status,
    }
    return Sample(
        event_id=str(some_uuid(draw)),
        event_type=f"twilio.message.{status}",
        body=urlencode(fields).encode(),
    )


def _microsoft_graph(draw: random.Random, now_s: float, entities: int) -> Sample:
    message = f"AAMkNorthwind{draw.randint(1, entities):04d}"
    user = "6f0c2b1e-0000-4000-8000-000000000001"
    event_id = some_uuid(draw).hex
    body = {
        "value": [
            {
                "id": event_id,
                "subscriptionId": "0d5a7c11-0000-4000-8000-000000000002",
                "subscriptionExpirationDateTime": iso(now_s + 3600),
                "changeType": draw.choice(["created", "updated"]),
                "tenantId": "9c1d2e3f-0000-4000-8000-000000000003",
                "resource": f"Users/{user}/Messages/{message}",
                "resourceData": {
                    "@odata.type": "#Microsoft.Graph.Message",
                    "@odata.id": f"Users/{user}/Messages/{message}",
                    "@odata.etag": f'W/"{some_uuid(draw).hex[:12]}"',
                    "id": message,
                },
            }
        ]
    }
    return in_json(event_id, "microsoft_graph.message", body)


def _meta(draw: random.Random, now_s: float, entities: int) -> Sample:
    customer = f"4366000{draw.randint(1, entities):04d}"
    event_id = f"wamid.{some_uuid(draw).hex}"
    value: dict[str, Any] = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "4315550100", "phone_number_id": "1029384756"},
        "contacts": [{"profile": {"name": draw.choice(PEOPLE).title()}, "wa_id": customer}],
        "messages": [
            {
                "from": customer,
                "id": event_id,
                "timestamp": str(int(now_s)),
                "type": "text",
                "text": {"body": "When does my parcel arrive?"},
            }
        ],
    }
    body = {
        "object": "whatsapp_business_account",
        "entry": [{"id": "5647382910", "changes": [{"field": "messages", "value": value}]}],
    }
    return in_json(event_id, "meta.whatsapp_business_account.messages", body)


def _cloudevents(draw: random.Random, now_s: float, entities: int) -> Sample:
    event_id = str(some_uuid(draw))
    state = draw.choice(["placed", "packed", "shipped"])
    body = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/northwind/warehouse",
        "type": f"com.example.order.{state}",
        "subject": f"order-{1000 + draw.randint(1, entities)}",
        "time": iso(now_s),
        "datacontenttype": "application/json",
        "data": {"state": state, "parcels": draw.randint(1, 3)},
    }
    return in_json(event_id, f"cloudevents.com.example.order.{state}", body)


def _calendly(draw: random.Random, now_s: float, entities: int) -> Sample:
    action = draw.choice(["created", "canceled"])
    event = f"https://api.calendly.com/scheduled_events/EVENT{draw.randint(1, entities):04d}"
    person = draw.choice(PEOPLE)
    body = {
        "created_at": iso(now_s),
        "created_by": "https://api.calendly.com/users/NOORNORTHWIND01",
        "event": f"invitee.{action}",
        "payload": {
            "email": f"{person}@example.com",
            "name": person.title(),
            "scheduled_event": {"uri": event, "name": "Tea tasting"},
            "status": "active" if action == "created" else "canceled",
            "uri": f"{event}/invitees/{some_uuid(draw)}",
        },
    }
    return in_json(str(some_uuid(draw)), f"calendly.invitee.{action}", body)


def _hubspot(draw: random.Random, now_s: float, entities: int) -> Sample:
    action = draw.choice(["creation", "propertyChange", "deletion"])
    event_id = draw.randint(10**9, 10**10)
    body = [
        {
            "eventId": event_id,
            "subscriptionId": 25,
            "portalId": 33,
            "appId": 1_160_452,
            "occurredAt": int(now_s * 1000),
            "subscriptionType": f"contact.{action}",
            "attemptNumber": 0,
            "objectId": 1_246_000 + draw.randint(1, entities),
            "changeSource": "CRM",
        }
    ]
    return in_json(str(event_id), f"hubspot.contact.{action}", body)


def _jira(draw: random.Random, now_s: float, entities: int) -> Sample:
    number = draw.randint(1, entities)
    action = draw.choice(["created", "updated"])
    body = {
        "timestamp": int(now_s * 1000),
        "webhookEvent": f"jira:issue_{action}",
        "user": {"accountId": "5f00000000000000000000a1", "displayName": draw.choice(PEOPLE)},
        "issue": {
            "id": str(10_000 + number),
            "key": f"SHOP-{number}",
            "fields": {
                "summary": f"Checkout fails for basket {number}",
                "status": {"name": draw.choice(["To Do", "In Progress", "Done"])},
                "updated": iso(now_s),
            },
        },
    }
    return in_json(str(some_uuid(draw)), f"jira.issue_{action}", body)


def _pagerduty(draw: random.Random, now_s: float, entities: int) -> Sample:
    event_id = some_uuid(draw).hex[:26].upper()
    action = draw.choice(["triggered", "acknowledged", "resolved"])
    number = draw.randint(1, entities)
    body = {
        "event": {
            "id": event_id,
            "event_type": f"incident.{action}",
            "resource_type": "incident",
            "occurred_at": iso(now_s),
            "data": {
                "id": f"PNORTH{number:02d}",
                "type": "incident",
                "number": number,
                "status": action,
                "title": "Shop is slow",
            },
        }
    }
    return in_json(event_id, f"pagerduty.incident.{action}", body)


def _typeform(draw: random.Random, now_s: float, entities: int) -> Sample:
    event_id = some_uuid(draw).hex[:26].upper()
    body = {
        "event_id": event_id,
        "event_type": "form_response",
        "form_response": {
            "form_id": "lT4Z3j",
            "token": f"a3a12ec67a1365927098a606{draw.randint(1, entities):08x}",
            "landed_at": iso(now_s - 90),
            "submitted_at": iso(now_s),
            "answers": [{"type": "text", "text": "Assam", "field": {"id": "DlXFaesGBpoF"}}],
        },
    }
    return in_json(event_id, "typeform.form_response", body)


def _zendesk(draw: random.Random, now_s: float, entities: int) -> Sample:
    event_id = str(some_uuid(draw))
    state = draw.choice(["created", "status_changed", "comment_added"])
    number = draw.randint(1, entities)
    body = {
        "account_id": 22_129_848,
        "detail": {
            "id": str(5000 + number),
            "subject": f"Where is parcel {1000 + number}?",
            "status": "OPEN",
            "updated_at": iso(now_s),
        },
        "event": {},
        "id": event_id,
        "subject": f"zen:ticket:{5000 + number}",
        "time": iso(now_s),
        "type": f"zen:event-type:ticket.{state}",
        "zendesk_event_version": "2022-11-06",
    }
    return in_json(event_id, f"zendesk.ticket.{state}", body)


MAKERS: Final[dict[str, Callable[[random.Random, float, int], Sample]]] = {
    "calendly": _calendly,
    "cloudevents": _cloudevents,
    "gitlab": _gitlab,
    "hubspot": _hubspot,
    "jira": _jira,
    "meta": _meta,
    "microsoft_graph": _microsoft_graph,
    "pagerduty": _pagerduty,
    "shopify": _shopify,
    "slack": _slack,
    "stripe": _stripe,
    "twilio": _twilio,
    "typeform": _typeform,
    "zendesk": _zendesk,
}
