"""The OpenAPI document, and the page that tells people the same."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema_rs
from schemathesis.specs.openapi.definitions import OPENAPI_31

from console.api.document import document
from console.api.operations import DOCUMENT, OPERATIONS, PREFIX
from console.api.problem_kinds import KINDS
from tests.api.stage import ApiStage

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_it_follows_the_meta_schema_of_openapi_3_1() -> None:
    validator = jsonschema_rs.validator_for(OPENAPI_31)
    assert [error.message for error in validator.iter_errors(document())] == []
    broken = document()
    broken["paths"]["/x"] = {"get": {"responses": {"nonsense": {}}}}
    assert list(validator.iter_errors(broken))


def test_every_reference_in_it_leads_somewhere() -> None:
    told = document()
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                found.append(value["$ref"])
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)

    walk(told)
    assert len(found) > 100
    for ref in set(found):
        place: object = told
        for part in ref.removeprefix("#/").split("/"):
            assert isinstance(place, dict)
            place = place[part]


def test_everybody_may_read_it_and_it_has_every_call(api: ApiStage) -> None:
    client = api.client()
    del client.headers["authorization"]
    answer = client.get(DOCUMENT)
    assert answer.status_code == 200
    assert answer.json() == document()
    told = {
        (method.upper(), path)
        for path, methods in answer.json()["paths"].items()
        for method in methods
    }
    assert told == {(one.method, PREFIX + one.path) for one in OPERATIONS}
    assert "x-request-id" in answer.headers
    assert re.fullmatch(r"total;dur=\d+\.\d", answer.headers["server-timing"])


def test_the_page_tells_every_call_and_every_problem_and_no_other() -> None:
    text = PAGE.read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", text, re.MULTILINE)
    assert dict(rows) == {code: str(kind.status) for code, kind in KINDS.items()}
    for one in OPERATIONS:
        assert f"`{one.method} {one.path}`" in text, one.id


def test_no_answer_has_a_place_for_a_secret_or_a_reference() -> None:
    schemas = document()["components"]["schemas"]
    names = {
        (schema, field)
        for schema, told in schemas.items()
        for field in told.get("properties", {})
        if re.search(r"secret|ref|token|value|password|credential", field)
    }
    assert names == {
        ("ConnectSessionMade", "token"),
        # Names and times of secrets, and whether a field is one.
        ("Connection", "secrets"),
        ("SystemField", "secret"),
    }
