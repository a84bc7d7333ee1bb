"""Every mistake in hookline.yaml: told at once, with its line and what to write."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.settings.loading import load
from hookline.settings.reference import settings_page
from schemas.errors import ConfigurationError

GOOD = """\
environment: test
kafka: {bootstrap_servers: "localhost:9092", properties: {}}
connections:
  - id: a
    tenant: acme
    provider: github
    secrets:
      - name: "1"
        ref: env:A_SECRET
gateway:
  listen: "0.0.0.0:8080"
consumer:
  group: orders
  handlers: "examples.orders:handlers"
"""

# (what is replaced, by what, the line that must be named, words that must be in it)
MISTAKES = [
    ("environment: test", "enviroment: test", 1, ["enviroment is no setting", "environment?"]),
    ("environment: test", "environment: Test Site", 1, ["small letters", "'Test Site'"]),
    ("environment: test", "environment: [a]", 1, ["environment"]),
    ("properties: {}", "properties: {acks: 1}", 2, ["acks may not be set", "in-sync"]),
    ("properties: {}", "properties: {group.id: x}", 2, ["consumer.group"]),
    ("properties: {}", "properties: {sasl.password: hunter2}", 2, ["not a secret reference"]),
    ("properties: {}", "propertys: {}", 2, ["did you mean properties?"]),
    ('"localhost:9092"', '""', 2, ["bootstrap_servers"]),
    ("id: a", "id: A/b", 4, ["small letters"]),
    ("id: a", "idd: a", 4, ["is missing"]),
    ("id: a", "idd: a", 4, ["did you mean id?"]),
    ("tenant: acme", "tenant:", 5, ["tenant"]),
    ("provider: github", "provider: githib", 6, ["'githib' is no provider", "mean github?"]),
    ("provider: github", "provider: hmac", 4, ["options.header"]),
    ("provider: github", "provider: github\n    options: {x: 1}", 7, ["options.x is no setting"]),
    ("env:A_SECRET", "whsec_c2VjcmV0", 9, ["not a secret reference", "env:NAME"]),
    ("env:A_SECRET", "ENV:A_SECRET", 9, ["env:"]),
    ("env:A_SECRET", "env:a-secret", 9, ["capitals"]),
    ("env:A_SECRET", "file:relative", 9, ["absolute path"]),
    ('name: "1"', "names: x", 8, ["did you mean name?"]),
    ("    secrets:\n      - name", "    secrets: []\n    x:\n      - name", 7, ["secrets"]),
    (
        "ref: env:A_SECRET",
        'ref: env:A_SECRET\n      - name: "1"\n        ref: env:B',
        10,
        ["two secrets of one connection"],
    ),
    (
        "ref: env:A_SECRET",
        "ref: env:A_SECRET\n        not_before: 2026-11-24T09:00:00",
        10,
        ["with its zone"],
    ),
    ('listen: "0.0.0.0:8080"', "listen: 8080", 11, ["listen"]),
    ('listen: "0.0.0.0:8080"', "listen: localhost", 11, ["host:port"]),
    ('listen: "0.0.0.0:8080"', "max_body_bytes: 1", 11, ["1024", "it is 1"]),
    ('listen: "0.0.0.0:8080"', "max_body_bytes: many", 11, ["integer", "'many'"]),
    ("gateway:", "gatway:", 10, ["did you mean gateway?"]),
    ('"examples.orders:handlers"', "examples.orders", 14, ["module:name"]),
    ("group: orders", "group: a b", 13, ["group"]),
    ("group: orders", "group: orders\n  group: x", 14, ["second time", "line 13"]),
    ("group: orders", "store: orders.db", 13, ["sqlite:///state/orders.db"]),
    ("group: orders", "retry: {budget_ms: -1}", 13, ["retry.budget_ms"]),
    ("group: orders", "\tgroup: orders", 13, ["tab"]),
    ("group: orders", "group: orders\n    max_batch_events:5", 13, ["a second setting", "space"]),
    ("group: orders", "group: *orders", 13, ["undefined alias (not shown)", "in quotes"]),
    ("group: orders", "group: 'orders", 13, ["is not YAML"]),
    ("connections:", "connections: &a [*a]\nx:", 3, [""]),
    ("group: orders", "store: postgresql://u@h/d?password=x", 13, ["consumer.store_password"]),
    ("group: orders", "store: postgresql://u@h/d?a=b&SSLpassword=x", 13, ["store_password"]),
    ("group: orders", "store: redis://h:6379/0?p%61ssword=x", 13, ["store_password"]),
    ("group: orders", "store: redis://h:6379/0?auth-token", 13, ["store_password"]),
    ("group: orders", "store: 'redis://[h:6379/0'", 13, ["store's URL"]),
    ("group: orders", "retry: {initial_ms: 60000, max_ms: 1}", 13, ["60000", "max_ms (1)"]),
    ("group: orders", "retry:\n    budget_ms: 9\n    max_ms: 99", 15, ["retry.initial_ms (100)"]),
    ("group: orders", "parking: {initial_ms: 900001}", 13, ["parking.max_ms (900000)"]),
    ("group: orders", "handler_timeout_ms: 120000", 13, ["stall_after_ms (120000)", "/livez"]),
    ("group: orders", "group: x\n  stall_after_ms: 60000", 14, ["handler_timeout_ms (60000)"]),
    (
        "group: orders",
        'forward:\n    - events: "*"\n      url: https://a.example/b\n      timeout_ms: 60001',
        16,
        ["forward[0].timeout_ms (60001)", "handler_timeout_ms (60000)"],
    ),
    ("group: orders", "drain_deadline_ms: 300000", 13, ["max.poll.interval.ms (300000)"]),
    ("properties: {}", "properties: {max.poll.interval.ms: 20000}", 2, ["deadline_ms (20000)"]),
    (GOOD, "- a\n- b\n", 1, ["must be a mapping"]),
]


def problems(tmp_path: Path, text: str | bytes, **environ: str) -> list[str]:
    path = tmp_path / "hookline.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ)
    return caught.value.problems


@pytest.mark.parametrize(("old", "new", "line", "words"), MISTAKES)
def test_a_mistake_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, words: list[str]
) -> None:
    assert old in GOOD
    found = problems(tmp_path, GOOD.replace(old, new, 1))
    matching = [p for p in found if all(word in p for word in words)]
    assert any(p.startswith(f"hookline.yaml:{line}:") for p in matching), found


def test_all_mistakes_are_told_at_once_and_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("github", "x").replace("acme", "ACME").replace('"0.0.0.0:8080"', "y")
    found = problems(tmp_path, text)
    lines = [int(p.split(":")[1]) for p in found]
    assert lines == sorted(lines)
    assert set(lines) == {5, 6, 11}


@pytest.mark.parametrize("place", ["ref: env:A_SECRET", "properties: {}"])
def test_what_may_be_a_secret_is_never_repeated(tmp_path: Path, place: str) -> None:
    secret = "hunter2-is-the-secret"
    new = (
        f"ref: {secret}" if place.startswith("ref") else f"properties: {{sasl.password: {secret}}}"
    )
    assert secret not in "\n".join(problems(tmp_path, GOOD.replace(place, new)))


def test_a_file_beside_a_store_is_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "hookline.yaml"
    url = "postgresql://u@h/d?sslmode=verify-full&sslkey=/k&passfile=/p&sslrootcert=/c"
    path.write_text(GOOD.replace("group: orders", f"store: {url}"))
    assert load(path, {}).consumer.store == url


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="hookline config example"):
        load(tmp_path / "nothing.yaml", {})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path, {})


def test_bytes_that_are_not_utf8_are_told_with_their_line(tmp_path: Path) -> None:
    assert problems(tmp_path, b"environment: test\nx: \xff\n")[0].startswith("hookline.yaml:2:")


def test_a_yaml_bomb_is_refused_quickly(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too large" in problems(tmp_path, "\n".join(levels))[0]
    assert problems(tmp_path, "x: " + "[" * 5000)


def test_variables_override_the_file_and_are_named_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "hookline.yaml"
    path.write_text(GOOD)
    changed = load(
        path,
        {
            "HOOKLINE_GATEWAY__LISTEN": "127.0.0.1:9",
            "HOOKLINE_CONNECTIONS__0__TENANT": "other",
            "HOOKLINE_CONSUMER__RETRY__MAX_MS": "5000",
            "HOOKLINE_PARTS": "/somewhere",
        },
    )
    assert changed.gateway.listen == "127.0.0.1:9"
    assert changed.connections[0].tenant == "other"
    assert changed.consumer.retry.max_ms == 5000
    found = problems(
        tmp_path, GOOD, HOOKLINE_GATEWAY__LISTEN="x", HOOKLINE_CONNECTIONS__7__ID="b",
        HOOKLINE_GATWAY__LISTEN="y",
    )  # fmt: skip
    assert [p.split(":")[0] for p in found] == [
        "HOOKLINE_CONNECTIONS__7__ID",
        "HOOKLINE_GATEWAY__LISTEN",
        "HOOKLINE_GATWAY__LISTEN",
    ]


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(st.text(max_size=200), st.lists(st.sampled_from(GOOD.splitlines())).map("\n".join))
)
def test_no_text_makes_the_loader_fail_in_another_way(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(ConfigurationError):
        load(path, {})


def test_the_configuration_page_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text("utf-8") == settings_page(), "run: hookline config docs"
