"""Whatever a document holds: bounded, nothing fetched, and an entry that is good or a refusal."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from producer.connect.openapi_document import Document
from producer.connect.openapi_import import import_openapi
from producer.connect.systems import read_entry
from schemas.errors import ConfigurationError
from tests.connect.catalogue.test_import import SCHEMES, TEA, imported, minimal


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "a: b", '{"openapi": "4.0"}', '{"openapi": 3}', "{", "openapi: [", '"3.0.0"'],
)
def test_what_is_no_document_is_told(text):
    with pytest.raises(ConfigurationError) as caught:
        import_openapi(text, "api.yaml")
    assert str(caught.value).startswith("api.yaml")


def test_nothing_is_fetched(monkeypatch):
    def refuse(*_arguments: Any, **_more: Any) -> None:
        raise AssertionError("somebody asked the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    document = minimal(
        paths={"/a": {"$ref": "http://169.254.169.254/x"}, "/b": {"$ref": "file:///etc/passwd"}},
        components={"securitySchemes": {"a": {"$ref": "other.yaml#/a"}}},
        webhooks={"w": {"$ref": "//evil.example/x"}},
    )
    made = import_openapi(json.dumps(document), "api.json")
    assert sum("was not fetched" in note for note in made.notes) == 4


@pytest.mark.parametrize(
    "text",
    [
        '{"openapi": "3.0.0", "paths": ' + '{"a":' * 100_000 + "1" + "}" * 100_001,
        "openapi: 3.0.0\nx: " + "[" * 100_000,
        "openapi: 3.0.0\n"
        + "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)),
    ],
    ids=["deep json", "deep yaml", "aliases"],
)
def test_a_bomb_is_refused_soon(text):
    began = time.monotonic()
    with pytest.raises(ConfigurationError):
        import_openapi(text, "bomb.yaml")
    assert time.monotonic() - began < 30


def test_a_circle_of_references_ends():
    document = Document.read(TEA, "tea.yaml")
    assert document.resolved({"$ref": "#/components/schemas/Loop"}) == {}
    assert set(document.properties({"$ref": "#/components/schemas/Order"})) == {"event_id", "topic"}


def test_ten_thousand_requests_are_read_soon():
    paths = {f"/r{n}/{{id}}": {"get": {"parameters": [{"$ref": "#/x"}]}} for n in range(30_000)}
    began = time.monotonic()
    assert imported(minimal(paths=paths)).id == "acme"
    assert time.monotonic() - began < 30


HOSTILE = st.sampled_from(
    [
        *("{token}", "{webhook_url}", "<script>alert(1)</script>", "\x00\x1b[31m", "\u202e", "# x"),
        *(
            "a\nb: c",
            "*x",
            "&x",
            "!!python/object:os",
            "'\"",
            "../..",
            "%2e%2e",
            "{",
            "}",
            "💥",
            "",
        ),
        *(
            "https://a.example",
            "http://a.example/{x}",
            "TODO",
            "-",
            "no",
            "1e5",
            "\ud800",
            "x" * 900,
        ),
    ]
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), HOSTILE),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                HOSTILE,
                st.sampled_from(
                    [
                        *("get", "post", "parameters", "responses", "200", "content", "schema"),
                        *(
                            "application/json",
                            "properties",
                            "$ref",
                            "name",
                            "in",
                            "required",
                            "url",
                        ),
                        *(
                            "title",
                            "description",
                            "type",
                            "scheme",
                            "flows",
                            "tokenUrl",
                            "variables",
                        ),
                        *("default", "enum", "id", "email", "allOf", "callbacks", "security"),
                    ]
                ),
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=15,
)
SCHEMES_DRAWN = st.dictionaries(
    st.text(max_size=5),
    st.one_of(
        st.sampled_from(list(SCHEMES.values())),
        st.builds(
            lambda kind, place, name, told: {
                "type": kind, "in": place, "name": name, "scheme": place, "description": told
            },
            st.sampled_from(["apiKey", "http", "oauth2", "basic"]),
            st.sampled_from(["header", "query", "bearer", "basic"]),
            HOSTILE,
            HOSTILE,
        ),
        VALUES,
    ),
    max_size=3,
)  # fmt: skip
DOCUMENTS = st.fixed_dictionaries(
    {"openapi": st.sampled_from(["3.0.0", "3.1.0"])},
    optional={
        "info": st.one_of(
            VALUES, st.fixed_dictionaries({"title": HOSTILE, "description": HOSTILE})
        ),
        "servers": st.one_of(
            VALUES,
            st.lists(
                st.builds(
                    lambda url, name, about: {"url": url, "variables": {name: about}},
                    st.one_of(
                        HOSTILE,
                        st.builds("https://{{{}}}.{}/{}".format, HOSTILE, HOSTILE, HOSTILE),
                    ),
                    HOSTILE,
                    VALUES,
                ),
                max_size=2,
            ),
        ),
        "tags": st.one_of(VALUES, st.lists(st.builds(lambda name: {"name": name}, HOSTILE))),
        "paths": st.dictionaries(
            st.one_of(HOSTILE, st.sampled_from(["/me", "/a", "/hooks", "/{x}/me"])),
            st.one_of(VALUES, st.dictionaries(st.sampled_from(["get", "post"]), VALUES)),
            max_size=4,
        ),
        "security": VALUES,
        "webhooks": st.dictionaries(
            HOSTILE, st.one_of(VALUES, st.builds(lambda post: {"post": post}, VALUES)), max_size=3
        ),
        "externalDocs": VALUES,
        "components": st.one_of(
            VALUES, st.builds(lambda schemes: {"securitySchemes": schemes}, SCHEMES_DRAWN)
        ),
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(document=DOCUMENTS)
def test_whatever_a_document_holds_its_entry_is_good(document):
    made = import_openapi(json.dumps(document), "a b.json")
    entry = read_entry(made.text, f"{made.system_id}.yaml")
    assert entry.base_url is not None
    # Nothing of the document becomes a line of its own in the file.
    assert yaml.safe_load(made.text)["id"] == entry.id


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(value=VALUES)
def test_whatever_is_no_document_is_told(value):
    with pytest.raises(ConfigurationError):
        import_openapi(json.dumps(value), "a.json")
