"""The published JSON Schema of an entry, made from its model: editors check entries by it."""

from __future__ import annotations

import json
from typing import Final

from producer.connect.system import System

#: Where the published copy is; a test holds it equal.
FILE: Final = "catalogue.schema.json"
_TITLE: Final = "An entry of Hookline's catalogue of systems"


def schema_text() -> str:
    """The schema as JSON, with a line break at its end."""
    schema = System.model_json_schema(by_alias=True)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": _TITLE,
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
