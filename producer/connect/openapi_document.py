"""An OpenAPI 3.0 or 3.1 or Swagger 2 document, as far as an entry is made of it. Hostile input:
every look goes through checks of its type, local references are followed a few steps and never in
a circle, remote ones never.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from producer.connect import located_yaml
from producer.providers import json_pointer
from schemas.errors import ConfigurationError

#: GitHub's own is 12 million characters of JSON.
MAX_JSON_CHARS: Final = 32_000_000
#: YAML takes a hundred times as long to read.
MAX_YAML_CHARS: Final = 8_000_000
MAX_YAML_NODES: Final = 1_000_000
_MAX_STEPS: Final = 8
_MAX_OPERATIONS: Final = 20_000
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]+")


class Operation(msgspec.Struct, frozen=True):
    """One of the document's requests."""

    method: str
    path: str
    value: dict[str, Any]
    #: Its own parameters and those of its path.
    parameters: tuple[dict[str, Any], ...]


class Document:
    """Looks into a document; what is not there, or of another type, is empty."""

    def __init__(self, value: Any, name: str) -> None:
        self.root = mapping(value)
        version = str(self.root.get("openapi") or self.root.get("swagger") or "")
        if not version.startswith(("3.0", "3.1", "3.2", "2.")):
            raise ConfigurationError(
                f"{name}: is no OpenAPI 3 or Swagger 2 document: it has no `openapi: 3.…` and no "
                '`swagger: "2.0"`'
            )
        self.is_swagger = version.startswith("2.")
        #: Files elsewhere that it refers to, which were not fetched.
        self.remote: set[str] = set()

    @classmethod
    def read(cls, text: str, name: str) -> Document:
        """The document of a JSON or YAML text; ConfigurationError if it is none."""
        if not text.lstrip("\ufeff \t\r\n").startswith("{"):
            located = located_yaml.parse(
                text, name, max_chars=MAX_YAML_CHARS, max_nodes=MAX_YAML_NODES
            )
            return cls(located.value, name)
        if len(text) > MAX_JSON_CHARS:
            raise ConfigurationError(f"{name}: is over {MAX_JSON_CHARS} characters")
        try:
            value = json.loads(text.lstrip("\ufeff"))
        except RecursionError:
            raise ConfigurationError(f"{name}: is nested too deep") from None
        except ValueError as error:
            at = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise ConfigurationError(f"{name}{at}: is not JSON") from None
        return cls(value, name)

    def resolved(self, value: Any) -> dict[str, Any]:
        """The mapping itself, or the one that its `$ref` stands for."""
        seen: set[str] = set()
        for _ in range(_MAX_STEPS):
            here = mapping(value)
            reference = here.get("$ref")
            if not isinstance(reference, str):
                return here
            if not reference.startswith("#/"):
                self.remote.add(clean(reference.partition("#")[0], 100))
                return {}
            if reference in seen:
                return {}
            seen.add(reference)
            try:
                value = json_pointer.resolve(
                    self.root, json_pointer.parse(unquote(reference[1:], errors="replace"))
                )
            except ValueError:
                return {}
        return {}

    def operations(self) -> Iterator[Operation]:
        """Every request under `paths`, in its order, up to a bound."""
        count = 0
        for path, item in mapping(self.root.get("paths")).items():
            if not isinstance(path, str) or not path.startswith("/"):
                continue
            here = self.resolved(item)
            shared = self.parameters(here)
            for method, value in here.items():
                if method not in ("get", "post", "put", "patch", "delete"):
                    continue
                count += 1
                if count > _MAX_OPERATIONS:
                    return
                operation = mapping(value)
                yield Operation(method, path, operation, (*shared, *self.parameters(operation)))

    def parameters(self, value: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        """The parameters of a path or a request, with their references followed."""
        return tuple(self.resolved(one) for one in items(value.get("parameters"))[:100])

    def properties(self, schema: Any, steps: int = 3) -> dict[str, Any]:
        """The properties of an object's schema, also of those that it is all of."""
        here = self.resolved(schema)
        found = dict(mapping(here.get("properties")))
        if steps > 0:
            for part in items(here.get("allOf"))[:20]:
                found |= self.properties(part, steps - 1)
        return found

    def security_schemes(self) -> dict[str, dict[str, Any]]:
        """The ways to prove who asks, by their names."""
        if self.is_swagger:
            named = mapping(self.root.get("securityDefinitions"))
        else:
            named = mapping(mapping(self.root.get("components")).get("securitySchemes"))
        return {str(name): self.resolved(value) for name, value in list(named.items())[:50]}

    def answer_schema(self, operation: Operation) -> dict[str, Any]:
        """The schema of a 200 in JSON."""
        answer = self.resolved(mapping(operation.value.get("responses")).get("200"))
        if self.is_swagger:
            return self.resolved(answer.get("schema"))
        return self.resolved(_json_content(answer).get("schema"))

    def body_schema(self, operation: dict[str, Any]) -> dict[str, Any]:
        """The schema of a request's body in JSON."""
        if self.is_swagger:
            bodies = [one for one in self.parameters(operation) if one.get("in") == "body"]
            return self.resolved(bodies[0].get("schema")) if bodies else {}
        body = self.resolved(operation.get("requestBody"))
        return self.resolved(_json_content(body).get("schema"))

    def webhooks(self) -> dict[str, dict[str, Any]]:
        """What it says it sends: `webhooks`, `x-webhooks`, and the callbacks of its requests."""
        found: dict[str, dict[str, Any]] = {}
        for key in ("webhooks", "x-webhooks"):
            for name, item in list(mapping(self.root.get(key)).items())[:1000]:
                value = mapping(self.resolved(item).get("post"))
                if value:
                    found.setdefault(clean(str(name), 200), value)
        for operation in self.operations():
            for name, callback in list(mapping(operation.value.get("callbacks")).items())[:50]:
                for item in list(self.resolved(callback).values())[:5]:
                    value = mapping(self.resolved(item).get("post"))
                    if value and len(found) < 1000:
                        found.setdefault(clean(str(name), 200), value)
        return found


def _json_content(value: dict[str, Any]) -> dict[str, Any]:
    content = mapping(value.get("content"))
    for kind, media in content.items():
        if isinstance(kind, str) and ("json" in kind or kind == "*/*"):
            return mapping(media)
    return {}


def mapping(value: Any) -> dict[str, Any]:
    """The mapping, or an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """The list, or an empty one."""
    return value if isinstance(value, list) else []


def clean(value: Any, max_chars: int) -> str:
    """A text in one line, without signs that control or braces that would name a field."""
    if not isinstance(value, str):
        return ""
    text = _CONTROL.sub(" ", value[: max_chars * 4]).replace("{", "(").replace("}", ")")
    return text.strip()[:max_chars].strip()
