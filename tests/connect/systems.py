"""Entries of a catalogue that differ in all that the flow makes a difference of."""

from __future__ import annotations

from typing import Any

from producer.connect.system import System

TOKEN_FIELD = {
    "id": "token",
    "label": "API token",
    "secret": True,
    "kind": "secret",
    "pattern": "[A-Za-z0-9_-]{8,}",
    "mismatch": "An API token has at least 8 letters and digits.",
}
URL_FIELD = {"id": "address", "label": "Address", "kind": "url"}


def system(
    system_id: str = "acme",
    *,
    fields: list[Any] | None = None,
    authorisation: dict[str, Any] | None = None,
    validation: dict[str, Any] | bool | None = True,
    how: str = "api",
    source: str = "generated",
    test: str = "registration",
    secret_format: str = "whsec",
    **more: Any,
) -> System:
    """One entry; by default with an address, a token, and everything by API."""
    registration: dict[str, Any] = {"how": how, "events": ["item.changed"]}
    secret: dict[str, Any] = {"source": source, "format": secret_format}
    if how == "api":
        registration |= {
            "call": {
                "method": "POST",
                "path": "/hooks",
                "json": {"url": "{webhook_url}", "secret": "{signing_secret}"},
                "ok": [201],
            },
            "id": "/id",
            "remove": {"method": "DELETE", "path": "/hooks/{webhook_id}", "ok": [204]},
        }
        if source == "generated":
            registration["rotate"] = {
                "method": "PUT",
                "path": "/hooks/{webhook_id}",
                "json": {"secret": "{signing_secret}"},
            }
        if source == "answer":
            registration["rotate"] = {
                "method": "POST",
                "path": "/hooks/{webhook_id}/secret",
                "pointer": "/secret",
            }
    if source == "answer":
        secret["pointer"] = "/secret"
    if source == "field":
        secret["field"] = "signing"
        registration["fields"] = [
            {"id": "signing", "label": "Signing secret", "secret": True, "kind": "secret"}
        ]
    testing: dict[str, Any] = {"how": test, "wait_s": 30}
    if test == "api":
        testing["call"] = {"method": "POST", "path": "/hooks/{webhook_id}/test", "ok": [204]}
    if validation is True:
        validation = {"path": "/me", "account": "/login", "present": ["/login"]}
    entry: dict[str, Any] = {
        "id": system_id,
        "name": system_id.title(),
        "about": "A system.",
        "categories": ["test"],
        "logo": {"initials": "A", "colour": "#123456"},
        "sources": ["https://example.com/docs"],
        "base_url": "{address}",
        "fields": [URL_FIELD, TOKEN_FIELD] if fields is None else fields,
        "authorisation": authorisation or {"kind": "bearer", "token": "{token}"},
        "validation": validation or None,
        "webhook": {
            "provider": "standard_webhooks",
            "secret": secret,
            "registration": registration,
            "test": testing | more.pop("testing", {}),
        },
    }
    return System.model_validate(entry | more)


OAUTH = {
    "kind": "oauth2_code",
    "authorise_url": "{address}/authorise",
    "token_url": "{address}/token",
    "scopes": ["read", "hooks"],
}
NAMED = [URL_FIELD]


def kinds() -> list[System]:
    """One of every kind."""
    return [
        system("plain"),
        system("answer", source="answer", test="api"),
        system("hand", how="manual", test="customer"),
        system("pasted", how="manual", source="field", test="customer"),
        system("app", source="app", test="api"),
        system("consent", fields=NAMED, authorisation=OAUTH, test="customer"),
        system("blind", how="manual", validation=False, test="customer",
               testing={"optional": True}),
        system("bare", fields=[], authorisation=OAUTH | {"authorise_url": "https://x.example/a",
               "token_url": "https://x.example/t"}, base_url="https://x.example"),
    ]  # fmt: skip
