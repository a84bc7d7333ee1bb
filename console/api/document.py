"""The OpenAPI 3.1 document, from the operations and their models: it cannot say what is not so."""

from __future__ import annotations

import re
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from console.api import models
from console.api.operations import OPERATIONS, PREFIX, Operation
from console.api.problem_kinds import ALWAYS, KINDS, TYPE

_REF: Final = "#/components/schemas/{model}"
_HEADERS: Final[dict[str, tuple[str, str]]] = {
    "X-Request-ID": ("The id under which the console's log has the request.", r"^[0-9a-f]{32}$"),
    "Server-Timing": ("How long it took here, in ms.", r"^total;dur=[0-9.]+$"),
    "RateLimit-Policy": ("The limits that count for the token (IETF draft).", ""),
    "RateLimit": ("What is left of them.", ""),
    "Retry-After": ("After how many seconds to try again.", r"^[0-9]+$"),
    "Allow": ("The methods that there are.", ""),
    "WWW-Authenticate": ("Bearer.", ""),
    "Idempotency-Replayed": ("`true`: this was answered before.", ""),
}
_ALWAYS_HEADERS: Final = ("X-Request-ID", "Server-Timing")
_LIMITED: Final = (*_ALWAYS_HEADERS, "RateLimit-Policy", "RateLimit")


def document() -> dict[str, Any]:
    """The whole document; plain values, the same each time."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _told(operation)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": {
            "title": "Hookline",
            "version": "1",
            "summary": "Connections: let customers make them, see and change them.",
            "description": "For your backend, with an API token. Problems are RFC 9457 documents "
            f"whose `type` is `{TYPE}…`; docs/api.md tells each.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"apiToken": []}],
        "tags": [
            {"name": name} for name in dict.fromkeys(operation.tag for operation in OPERATIONS)
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "apiToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token: `hookline tokens create --scopes …`.",
                }
            },
            "schemas": _schemas(),
            "headers": {
                name: {
                    "description": about,
                    "schema": {"type": "string"} | ({"pattern": pattern} if pattern else {}),
                }
                for name, (about, pattern) in _HEADERS.items()
            },
            "parameters": {
                "IdempotencyKey": {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": False,
                    "description": "Of your choice, new for each thing that you want: sent again "
                    "within 24 h it gives the same answer, and nothing is done twice. After an "
                    "answer of 5xx, or two minutes without one, it is done anew.",
                    "schema": {"type": "string", "pattern": r"^[A-Za-z0-9._~:/+=-]{1,200}$"},
                }
            },
        },
    }


def _told(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": " ".join(
            part for part in (operation.about, f"Scope: `{operation.scope.value}`.") if part
        ),
    }
    parameters = [*_path_parameters(operation), *_query_parameters(operation)]
    if operation.keyed:
        parameters.append({"$ref": "#/components/parameters/IdempotencyKey"})
    if parameters:
        told["parameters"] = parameters
    if operation.body is not None:
        told["requestBody"] = {
            "required": operation.body_needed,
            "content": {"application/json": {"schema": _ref(operation.body)}},
        }
    headers = (*_LIMITED, *(("Idempotency-Replayed",) if operation.keyed else ()))
    told["responses"] = {
        str(operation.status): {
            "description": (operation.answer.__doc__ or "").strip().partition("\n")[0],
            "headers": _headers(headers),
            "content": {"application/json": {"schema": _ref(operation.answer)}},
        },
        **_problems(operation),
    }
    return told


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": operation.pattern},
        }
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = operation.query.model_json_schema(ref_template=_REF)
    found = []
    for name, plain in schema["properties"].items():
        described = dict(plain)
        # A parameter is left out, never null.
        if "anyOf" in described:
            (kept,) = [one for one in described.pop("anyOf") if one != {"type": "null"}]
            described |= kept
            described.pop("default", None)
        told = {"name": name, "in": "query", "required": False}
        if about := described.pop("description", ""):
            told["description"] = about
        described.pop("title", None)
        found.append(told | {"schema": described})
    return found


def _problems(operation: Operation) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys((*ALWAYS, *operation.problems)):
        if code == "not_json" and operation.body is None:
            continue
        by_status.setdefault(KINDS[code].status, []).append(code)
    return {
        str(status): {
            "description": " ".join(f"`{code}`: {KINDS[code].about}" for code in codes),
            "headers": _headers(_of_status(status)),
            "content": {"application/problem+json": {"schema": _ref(models.Problem)}},
        }
        for status, codes in sorted(by_status.items())
    }


def _of_status(status: int) -> tuple[str, ...]:
    more = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After"}.get(status)
    return (*_ALWAYS_HEADERS, more) if more else _ALWAYS_HEADERS


def _headers(names: tuple[str, ...]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _schemas() -> dict[str, Any]:
    asked = {one.body for one in OPERATIONS if one.body is not None}
    answered = {one.answer for one in OPERATIONS} | {models.Problem}
    wanted: list[tuple[type[BaseModel], Any]] = [
        *((one, "validation") for one in sorted(asked, key=lambda m: m.__name__)),
        *((one, "serialization") for one in sorted(answered, key=lambda m: m.__name__)),
    ]
    _, schema = models_json_schema(wanted, ref_template=_REF)
    found: dict[str, Any] = schema["$defs"]
    return dict(sorted(found.items()))
