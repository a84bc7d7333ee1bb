"""An entry from an OpenAPI document: what is taken of it, and what is asked instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from producer.connect.openapi_import import import_openapi
from producer.connect.system import ApiKey, Basic, Bearer, OAuthClient, OAuthCode, System
from producer.connect.systems import read_entry

TEA = """\
openapi: 3.1.0
info:
  title: Northwind Tea REST API
  version: "1"
  description: "**Orders** and teas of [Northwind](https://x.example). More text {here}."
externalDocs: {url: https://northwind.example/docs}
servers:
  - url: https://{tenant}.northwind.example/{version}
    variables:
      tenant: {default: demo, description: Your tenant}
      version: {default: v1, enum: [v1, v2]}
tags: [{name: Orders}, {name: Teas}, {name: api20100401thing}]
security: [{key: []}]
components:
  securitySchemes:
    key: {type: apiKey, in: header, name: X-Api-Key}
  schemas:
    Me: {allOf: [{$ref: "#/components/schemas/Who"}, {properties: {email: {type: string}}}]}
    Who: {type: object, properties: {id: {type: string}}}
    Loop: {$ref: "#/components/schemas/Loop2"}
    Loop2: {$ref: "#/components/schemas/Loop"}
    Order: {allOf: [{$ref: "#/components/schemas/Order"}, {properties: {event_id: {}, topic: {}}}]}
paths:
  /teas: {get: {responses: {"200": {description: ok}}}}
  /teas/{id}/me: {get: {parameters: [{name: id, in: path, required: true}], responses: {}}}
  /public/me: {get: {security: [], responses: {}}}
  /v1/me:
    get:
      responses:
        "200":
          content: {application/json: {schema: {$ref: "#/components/schemas/Me"}}}
  /webhooks: {post: {responses: {"201": {description: ok}}}}
  /elsewhere: {$ref: "https://elsewhere.example/paths.yaml#/x"}
webhooks:
  order.placed:
    post:
      parameters: [{in: header, name: X-Hub-Signature-256, schema: {type: string}}]
      requestBody: {content: {application/json: {schema: {$ref: "#/components/schemas/Order"}}}}
"""


def imported(document: Any, name: str = "api.yaml") -> System:
    text = document if isinstance(document, str) else json.dumps(document)
    made = import_openapi(text, name)
    return read_entry(made.text, f"{made.system_id}.yaml")


def minimal(**more: Any) -> dict[str, Any]:
    return {"openapi": "3.0.3", "info": {"title": "Acme"}, "paths": {}, **more}


def test_what_the_document_says_is_in_the_entry():
    entry = imported(TEA)
    assert (entry.id, entry.name, entry.about) == (
        *("northwind-tea", "Northwind Tea", "Orders and teas of Northwind."),
    )
    assert entry.base_url == "https://{tenant}.northwind.example/{version}"
    assert [(field.id, field.kind) for field in entry.fields] == [
        *(("tenant", "subdomain"), ("version", "choice"), ("api_key", "secret")),
    ]
    assert entry.authorisation == ApiKey(
        kind="api_key", place="header", name="X-Api-Key", value="{api_key}"
    )
    assert entry.categories == ["orders", "teas", "api"]
    assert entry.sources == ["https://northwind.example/docs"]
    assert entry.validation is not None
    assert (entry.validation.path, entry.validation.present, entry.validation.account) == (
        *("/v1/me", ["/id"], "/email"),
    )
    assert entry.webhook.provider == "hmac"
    assert entry.webhook.options == {
        "header": "X-Hub-Signature-256",
        "prefix": "sha256=",
        "event_id": "body:/event_id",
        "event_type": "body:/topic",
    }
    assert entry.webhook.registration.events == ["order.placed"]


def test_what_is_to_be_looked_at_is_said_at_the_head():
    made = import_openapi(TEA, "tea.yaml")
    assert any("GET /v1/me" in note for note in made.notes)
    assert any("POST /webhooks seems to make webhooks" in note for note in made.notes)
    assert any("https://elsewhere.example/paths.yaml" in note for note in made.notes)
    assert made.text.startswith("# Made by `hookline catalogue import`.")
    assert all("TODO" not in line for line in made.text.splitlines())


SCHEMES = {
    "bearer": {"type": "http", "scheme": "Bearer"},
    "basic": {"type": "http", "scheme": "basic"},
    "key": {"type": "apiKey", "in": "query", "name": "api_key"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "sid"},
    "client": {
        "type": "oauth2",
        "flows": {"clientCredentials": {"tokenUrl": "https://a.example/t", "scopes": {"read": ""}}},
    },
    "code": {
        "type": "oauth2",
        "flows": {
            "authorizationCode": {
                "authorizationUrl": "https://a.example/a",
                "tokenUrl": "https://a.example/t",
                "scopes": {"orders.read": "", "orders.write": ""},
            }
        },
    },
    "evil": {
        "type": "oauth2",
        "flows": {"clientCredentials": {"tokenUrl": "javascript:alert(1)", "scopes": {}}},
    },
}


@pytest.mark.parametrize(
    ("there", "wanted", "kind"),
    [
        (["bearer"], None, Bearer),
        (["basic"], None, Basic),
        (["key"], None, ApiKey),
        (["client"], None, OAuthClient),
        (["code"], None, OAuthCode),
        (["code", "client", "basic", "key", "bearer"], None, Bearer),
        (["code", "bearer"], ["code"], OAuthCode),
        (["evil", "cookie", "basic"], None, Basic),
    ],
)
def test_of_several_ways_the_least_work_is_taken(there, wanted, kind):
    document = minimal(components={"securitySchemes": {name: SCHEMES[name] for name in there}})
    if wanted:
        document["security"] = [{name: []} for name in wanted]
    entry = imported(document)
    assert isinstance(entry.authorisation, kind)
    if isinstance(entry.authorisation, OAuthCode):
        assert entry.authorisation.scopes == ["orders.read"]


@pytest.mark.parametrize("there", [[], ["cookie"], ["evil"]])
def test_without_a_way_that_is_known_nothing_is_asked(there):
    document = minimal(components={"securitySchemes": {name: SCHEMES[name] for name in there}})
    entry = imported(document)
    assert entry.authorisation.kind == "none"
    assert entry.validation is None


@pytest.mark.parametrize(
    ("told", "value"),
    [
        ("The API Key with format `Token token=<API_KEY>`", "Token token={api_key}"),
        ("Use Bearer tokens", "Bearer {api_key}"),
        ("", "{api_key}"),
    ],
)
def test_how_a_key_is_written_is_taken_of_its_description(told, value):
    scheme = {"type": "apiKey", "in": "header", "name": "Authorization", "description": told}
    entry = imported(minimal(components={"securitySchemes": {"a": scheme}}))
    assert isinstance(entry.authorisation, ApiKey)
    assert entry.authorisation.value == value


def test_swagger_2():
    entry = imported(
        {
            "swagger": "2.0",
            "info": {"title": "Petstore API", "description": "Pets."},
            "host": "petstore.example.com",
            "basePath": "/v2",
            "schemes": ["http"],
            "securityDefinitions": {"basic": {"type": "basic"}},
            "paths": {
                "/account": {
                    "get": {"responses": {"200": {"schema": {"$ref": "#/definitions/Account"}}}}
                }
            },
            "definitions": {"Account": {"properties": {"id": {}, "name": {}}}},
        }
    )
    assert entry.base_url == "https://petstore.example.com/v2"
    assert isinstance(entry.authorisation, Basic)
    assert entry.validation is not None
    assert (entry.validation.path, entry.validation.account) == ("/account", "/name")


@pytest.mark.parametrize(
    "servers",
    [
        [],
        None,
        [{"url": "/v1"}],
        [{"url": "javascript:alert(1)"}],
        [{"url": "https://user:password@evil.example"}],
        [{"url": "https://a.example/?x=1"}],
        [{"url": "https://{a}{a b}.example"}],
        [{"url": "https://" + "".join(f"{{v{n}}}" for n in range(30))}],
        [{"url": 7}],
    ],
)
def test_where_the_address_is_none_the_customer_is_asked(servers):
    entry = imported(minimal(servers=servers))
    assert entry.base_url is not None
    if entry.base_url != "{base_url}":
        assert entry.base_url.startswith("https://")
        assert "@" not in entry.base_url
    else:
        assert entry.fields[0].kind == "url"


def test_standard_webhooks_are_recognised_by_their_headers():
    parameters = [{"in": "header", "name": name} for name in ("webhook-id", "webhook-signature")]
    entry = imported(
        minimal(openapi="3.1.0", webhooks={"a.b": {"post": {"parameters": parameters}}})
    )
    assert entry.webhook.provider == "standard_webhooks"
    assert entry.webhook.secret.format == "whsec"


def test_callbacks_are_webhooks_too():
    callback = {"onPaid": {"{$request.body#/url}": {"post": {"responses": {}}}}}
    entry = imported(minimal(paths={"/x": {"post": {"callbacks": callback}}}))
    assert entry.webhook.registration.events == ["onPaid"]
