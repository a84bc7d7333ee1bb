"""What of a payload is shown: no value that a rule takes out, in whatever form it comes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.redaction import MASK, MAX_VALUES, PayloadRedactor, RedactionRules

CANARY = "canary7x9w"
redact = PayloadRedactor()

names = st.sampled_from(
    ["password", "Api-Key", "client_secret", "accessToken", "X-Signature", "pin", "user.pwd"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def shown(value: Any, rules: RedactionRules | None = None) -> str:
    return PayloadRedactor(rules)(json.dumps(value).encode())


@given(names, st.sampled_from([CANARY, {"deep": [CANARY]}, [CANARY]]), trees)
def test_what_has_a_secret_name_is_never_shown(name: str, secret: Any, around: Any) -> None:
    for value in ({name: secret, "a": around}, [around, {"x": {name: secret}}]):
        assert CANARY not in shown(value)
        assert CANARY not in shown({"payload": json.dumps(value)})
        assert CANARY not in redact(urlencode({"payload": json.dumps(value), "n": "1"}).encode())
    assert CANARY not in redact(urlencode({"n": "1", name: CANARY}).encode())
    assert CANARY not in str(redact.headers({name: CANARY}))


@given(st.binary(max_size=200) | trees.map(lambda tree: json.dumps(tree).encode()))
def test_whatever_comes_something_can_be_shown(payload: bytes) -> None:
    redact(payload).encode()


@pytest.mark.parametrize(
    "text",
    [
        "Bearer canary7x9wcanary",
        "see https://me:canary7x9w@host/x",
        "https://host/x?access_token=canary7x9w&y=1",
        "hl_test_canary7x9wcanary7x9w",
        "whsec_canary7x9w",
        "sk_live_canary7x9w",
        "eyJcanary7x9w.canary7x9w.canary7x9w",
        "-----BEGIN PRIVATE KEY-----canary7x9w-----END PRIVATE KEY-----",
    ],
)
def test_what_has_the_shape_of_a_secret_is_not_shown_under_any_name(text: str) -> None:
    for payload in ({"note": text}, {text: 1}, [text]):
        assert CANARY not in shown(payload)
    assert CANARY not in redact(urlencode({"note": text}).encode())
    assert CANARY not in str(redact.headers({"X-Note": text}))


def test_a_card_number_is_taken_out_and_an_id_is_not() -> None:
    text = shown({"a": "4242 4242 4242 4242", "b": 4242424242424242, "c": 4242424242424241})
    assert text.count(MASK) == 2
    assert "4242424242424241" in text


def test_a_pair_of_name_and_value_is_read_as_one() -> None:
    text = shown([{"name": "db_password", "value": CANARY}, {"name": "region", "value": "eu"}])
    assert CANARY not in text
    assert "eu" in text


def test_a_pointer_takes_out_a_place_and_a_star_all_of_them() -> None:
    value = {"customer": {"email": CANARY, "id": 7}, "items": [{"note": CANARY}, {"note": CANARY}]}
    rules = RedactionRules(pointers=("/customer/email", "/items/*/note"))
    text = shown(value, rules)
    assert CANARY not in text
    assert json.loads(text)["customer"]["id"] == 7
    assert CANARY in shown(value)


def test_own_names_and_patterns_are_taken_out_too() -> None:
    rules = RedactionRules(fields=("shoe-size",), patterns=(r"ACME-\d+",))
    text = shown({"ShoeSize": 43, "note": f"of ACME-{'1' * 8} here"}, rules)
    assert json.loads(text) == {"ShoeSize": MASK, "note": f"of {MASK} here"}


def test_without_the_defaults_only_the_rules_count() -> None:
    rules = RedactionRules(fields=("a",), defaults=False)
    assert json.loads(shown({"a": 1, "password": "x"}, rules)) == {"a": MASK, "password": "x"}


def test_all_else_is_shown_as_it_is() -> None:
    value = {"id": 12345678901234567890, "ok": True, "none": None, "text": "ü\n", "tokyo": [1.5]}
    assert json.loads(shown(value)) == value


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"<xml><password>canary7x9w</password></xml>", "neither JSON nor a form"),
        (b"\xff\xfe canary7x9w", "no text"),
        (b"[" * 50_000 + b"]" * 50_000, "too deep"),
        (json.dumps([0] * (MAX_VALUES + 1)).encode(), "too much"),
        (b" " * (4 * 1024 * 1024 + 1), "too large"),
    ],
)
def test_what_cannot_be_looked_through_is_not_shown(payload: bytes, why: str) -> None:
    text = redact(payload)
    assert why in text
    assert CANARY not in text
    assert len(text) < 200


def test_a_text_that_is_too_long_to_be_looked_through_is_not_shown() -> None:
    assert "25000 characters" in shown({"log": CANARY * 2_500})


def test_an_operator_may_have_other_texts_shown_after_the_patterns() -> None:
    rules = RedactionRules(show_unparsed=True)
    assert shown_text(b"<a>whsec_canary7x9w</a>", rules) == f"<a>whsec_{MASK}</a>"


def shown_text(payload: bytes, rules: RedactionRules) -> str:
    return PayloadRedactor(rules)(payload)
