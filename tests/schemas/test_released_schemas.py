"""Released schemas: never edited, and every version reads the others as their docs declare."""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from importlib import resources
from typing import Any

import pytest

from schemas.codec import load_schemas, schema_prefix
from tests.schemas.compatibility import declared, must_read, problems

AVRO = resources.files("schemas").joinpath("avro")
#: SHA-256 of each released file. A new version adds a line; no line ever changes.
RELEASED = {
    "api_answer.v1.avsc": "698dbdc05c495280d4cb67aa71be028b21e1e5e3f7bd8cf93ea79dd8ce3f3436",
    "api_token.v1.avsc": "0ba2a40c97959cbafc2dc40fc5163fc6b229c6fae18cf3ce626a07ff7bf5f85c",
    "audit.v1.avsc": "25437ec03d31cc97fc4404712f154ddf283b72d2bb96ebbcfceeebf04d7366a0",
    "connect_session.v1.avsc": "36a8eb83a74899e67eb734d5898ee355b39e5b03d46e6c7fadaaed65beb5d055",
    "connection.v1.avsc": "81d9bc86469ba87fb2e4b6e6407501bf5f103c88774bec8a5b120ffa157e8e08",
    "connection_access.v1.avsc": "562cfa2c63c86f5e5b40f417e7580728707511704763f6fa55d12c5914a76e60",
    "dead_letter.v1.avsc": "bb9404acc6fba60b7b7260cd006f3439665cafa0aaf2d7b923e6ac16a2c11bd6",
    "event.v1.avsc": "49115ae4942b55a84ecdb6d312fef747440d2ec682174f5b076bbbd00d308999",
    "executions.v1.avsc": "0ce727d0d715da3c41e9bc09c6f10dffbce52cabd374e70e8a7d5b3924435c73",
    "receptions.v1.avsc": "c10a4f9edb2a1cb1efa0ae8c49323c4d8202e9479bb00ff60995378e2aba28f8",
    "revocation.v1.avsc": "d657210801ab8b693a755abc717ba194ffeb2769da2a613cdad515405a4b426f",
    "token_revocation.v1.avsc": "84c0daadee3767828d1bdfc5cc2fe2d4e72df33f5fb2280e9da6147f806a6762",
    "token_use.v1.avsc": "0e7660ff4890fe2b9a34f1afd74d86936a694aa26c5db1d2cef80112e3519d0b",
}
RECORDS = (
    *("api_token", "audit", "connection", "dead_letter", "event", "executions"),
    *("receptions", "revocation", "token_revocation", "token_use"),
    *("connect_session", "connection_access", "api_answer"),
)


def test_a_released_file_is_never_edited() -> None:
    digests = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in AVRO.iterdir()
        if file.name.endswith(".avsc")
    }
    assert digests == RELEASED


def test_every_file_is_a_version_of_a_record_that_is_checked_here() -> None:
    assert {name.partition(".v")[0] for name in RELEASED} == set(RECORDS)
    for record in RECORDS:
        assert load_schemas(record).keys() == {
            int(name.removesuffix(".avsc").rpartition(".v")[2])
            for name in RELEASED
            if name.startswith(f"{record}.v")
        }


@pytest.mark.parametrize("record", RECORDS)
def test_every_version_reads_the_others_as_it_declares(record: str) -> None:
    assert problems(load_schemas(record)) == []


@pytest.mark.parametrize("record", RECORDS)
def test_what_is_on_kafka_for_days_is_readable_in_both_directions_for_ever(record: str) -> None:
    for schema in load_schemas(record).values():
        assert declared(schema) == "FULL_TRANSITIVE"


@pytest.mark.parametrize("record", RECORDS)
def test_every_version_has_a_fingerprint_of_its_own(record: str) -> None:
    versions = load_schemas(record)
    assert len({schema_prefix(schema) for schema in versions.values()}) == len(versions)


@pytest.mark.parametrize("record", RECORDS)
def test_a_field_beyond_the_necessary_ones_may_be_added_and_taken_away(record: str) -> None:
    schema = load_schemas(record)[1]
    added = edited(schema, lambda fields: fields.append(text_field("added", default="")))
    assert problems({1: schema, 2: added}) == []
    with_default = next(field["name"] for field in schema["fields"] if "default" in field)
    assert problems({1: schema, 2: edited(schema, without(with_default))}) == []


REQUIRED, LONG, INT = "connection", "long", "int"
NULLABLE, FIXED, ENUM = "nullable", "fixed", "enum"
BAD = {
    "a new field without a default": lambda fields: fields.append(text_field("added")),
    "a field without a default is gone": lambda fields: without(REQUIRED)(fields),
    "a text becomes a number": lambda fields: change(fields, "connection", "long"),
    "a number gets narrower": lambda fields: change(fields, LONG, "int"),
    "a number gets wider": lambda fields: change(fields, INT, "long"),
    "null is no longer allowed": lambda fields: change(fields, NULLABLE, "long"),
    "null is newly allowed": lambda fields: change(fields, LONG, ["null", "long"]),
    "a necessary field is renamed": lambda fields: rename(fields, REQUIRED),
    "a fixed size changes": lambda fields: field(fields, FIXED).update(
        type={"type": "fixed", "name": "Tag", "size": 17}
    ),
    "an enum loses a symbol and has no default": lambda fields: field(fields, ENUM).update(
        type={"type": "enum", "name": "Kind", "symbols": ["ONE"]}, default="ONE"
    ),
}
LONG, INT, REQUIRED, NULLABLE, FIXED, ENUM = (
    "long",
    "int",
    "connection",
    "nullable",
    "fixed",
    "enum",
)


def first_version() -> dict[str, Any]:
    """A record that has one field of each kind that ours have."""
    return {
        "type": "record",
        "name": "Example",
        "namespace": "hookline.v1",
        "doc": "Compatibility: FULL_TRANSITIVE.",
        "fields": [
            {"name": REQUIRED, "type": "string"},
            {"name": LONG, "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": INT, "type": "int", "default": 0},
            {"name": NULLABLE, "type": ["null", "long"], "default": None},
            {"name": FIXED, "type": {"type": "fixed", "name": "Tag", "size": 16}},
            {
                "name": ENUM,
                "type": {"type": "enum", "name": "Kind", "symbols": ["ONE", "TWO"]},
                "default": "ONE",
            },
        ],
    }


@pytest.mark.parametrize("change", BAD)
def test_a_bad_second_version_is_caught(change: str) -> None:
    first = first_version()
    second = edited(first, BAD[change])
    assert problems({1: first}) == []
    found = problems({1: first, 2: second})
    assert found, f"{change} was not caught"


@pytest.mark.parametrize("record", RECORDS)
def test_a_bad_next_version_of_ours_is_caught(record: str) -> None:
    versions = load_schemas(record)
    newest = versions[max(versions)]
    text = next(item["name"] for item in newest["fields"] if item["type"] == "string")
    last = newest["fields"][-1]["name"]
    for change in (
        lambda fields: fields.append(text_field("added")),
        lambda fields: field(fields, text).update(type="bytes", default=""),
        lambda fields: field(fields, last).update(type="boolean", default=False),
    ):
        assert problems({**versions, max(versions) + 1: edited(newest, change)})


def test_a_default_that_a_third_version_takes_away_is_caught_by_the_first() -> None:
    first = first_version()
    second = edited(first, lambda fields: fields.append(text_field("added", default="")))
    third = edited(second, lambda fields: field(fields, "added").pop("default"))
    assert problems({1: first, 2: second}) == []
    found = problems({1: first, 2: second, 3: third})
    assert [line.partition(":")[0] for line in found] == ["v3 cannot read what v1 wrote"]
    # Only the transitive modes look back so far.
    for schema in (first, second, third):
        schema["doc"] = "Compatibility: FULL."
    assert problems({1: first, 2: second, 3: third}) == []


def test_a_mode_says_which_version_must_read_which() -> None:
    assert set(must_read("BACKWARD", [1, 2, 3])) == {(1, 2), (2, 3)}
    assert set(must_read("FORWARD", [1, 2, 3])) == {(2, 1), (3, 2)}
    assert set(must_read("FULL", [1, 2, 3])) == {(1, 2), (2, 3), (2, 1), (3, 2)}
    assert len(set(must_read("FULL_TRANSITIVE", [1, 2, 3]))) == 6
    assert set(must_read("BACKWARD_TRANSITIVE", [1, 2, 3])) == {(1, 2), (1, 3), (2, 3)}
    with pytest.raises(ValueError, match="no compatibility"):
        list(must_read("SOME", [1]))


def test_versions_agree_on_one_compatibility_and_leave_no_gap() -> None:
    first = first_version()
    assert "leave a gap" in problems({1: first, 3: first})[0]
    weaker = {**first, "doc": "Compatibility: BACKWARD."}
    assert "do not agree" in problems({1: first, 2: weaker})[0]
    with pytest.raises(ValueError, match="declares no compatibility"):
        problems({1: {**first, "doc": "no word"}})


def edited(schema: dict[str, Any], change: Any) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(deepcopy(schema)))
    change(copy["fields"])
    return copy


def field(fields: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(item for item in fields if item["name"] == name)


def text_field(name: str, **more: str) -> dict[str, Any]:
    return {"name": name, "type": "string", **more}


def without(name: str) -> Any:
    return lambda fields: fields.remove(field(fields, name))


def rename(fields: list[dict[str, Any]], name: str) -> None:
    field(fields, name)["name"] = f"{name}_too"


def change(fields: list[dict[str, Any]], name: str, to: Any) -> None:
    changed = field(fields, name)
    changed["type"] = to
    changed.pop("default", None)
