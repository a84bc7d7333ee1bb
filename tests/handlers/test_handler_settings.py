"""`consumer.forward` and `consumer.upsert`: handlers from settings alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from standardwebhooks import Webhook

from credentials.environment import EnvironmentBackend
from credentials.resolver import Resolver
from hookline import Handlers
from hookline.settings.handlers import ForwardSettings, UpsertSettings, paramstyle, register
from hookline.testing import event, run, samples
from schemas.errors import ConfigurationError, HooklineError, SecretError
from tests.handlers.http_server import HttpServer, http_server

OLD = "whsec_b2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQgb2xk"
NEW = "whsec_bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3"
RESOLVER = Resolver([EnvironmentBackend({"OLD": OLD, "NEW": NEW, "TOKEN": "t-1", "BAD": "%"})])
SQLITE = "sqlite:///state/hookline.db"

ISSUES = """
events: "github.issues.*"
table: issues
key: {id: /issue/id}
columns: {title: /issue/title, state: /issue/state, updated: event:occurred_at}
delete_on: github.issues.deleted
"""


Written = list[dict[str, Any]]


def registered(
    *,
    forward_to: Written | None = None,
    upsert_into: Written | None = None,
    store_url: str = SQLITE,
) -> Handlers:
    handlers = Handlers()
    register(
        handlers,
        forward_to=[ForwardSettings.model_validate(each) for each in forward_to or []],
        upsert_into=[UpsertSettings.model_validate(each) for each in upsert_into or []],
        resolver=RESOLVER,
        store_url=store_url,
    )
    return handlers


def test_a_table_is_kept_without_code() -> None:
    handlers = registered(upsert_into=[yaml.safe_load(ISSUES)])
    events = samples("github", 30, entities=3)
    setup = "CREATE TABLE issues (id INT PRIMARY KEY, title TEXT, state TEXT, updated TEXT)"
    done = run(handlers, events, setup=setup)
    assert done.outcomes["applied"] + done.outcomes["stale"] == 30
    newest = {each.resource_id: each.json()["issue"] for each in events}
    assert sorted(done.rows("SELECT id, state FROM issues")) == sorted(
        (issue["id"], issue["state"]) for issue in newest.values()
    )
    deleted = {h.pattern: h.deletes for h in handlers}
    assert deleted == {"github.issues.*": False, "github.issues.deleted": True}


def test_events_are_forwarded_without_code() -> None:
    async def inside() -> HttpServer:
        async with http_server() as server:
            handlers = registered(
                forward_to=[
                    {
                        "events": ["shop.order.*", "shop.refund.*"],
                        "url": server.url(),
                        "secrets": ["env:NEW", "env:OLD"],
                        "bearer": "env:TOKEN",
                        "circuit": {"consecutive_failures": 2},
                    }
                ]
            )
            for event_type in ("shop.order.paid", "shop.refund.made"):
                handler = handlers.find(event_type)
                assert handler is not None
                await handler.function(event(event_type, {"n": 1}))
            return server

    server = asyncio.run(inside())
    assert [got.headers["hookline-event-type"] for got in server.received] == [
        "shop.order.paid",
        "shop.refund.made",
    ]
    for got in server.received:
        assert got.headers["authorization"] == "Bearer t-1"
        assert Webhook(OLD).verify(got.body, got.headers) == {"n": 1}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"url": "ftp://hooks.example/"}, "https://host/path"),
        ({"url": "https://user:canary@hooks.example/"}, "user or password"),
        ({"proxy": "http://user:canary@proxy.example:3128"}, "user or password"),
        ({"url": "https://hooks.example/?token=canary"}, "name the secret at bearer"),
        ({"url": "https://hooks.example/a?b=c&Access_Token=canary#d"}, "such as env:TARGET_URL"),
        ({"url": "https://hooks.example/?api-key=canary"}, "secret in its query"),
        ({"url": "https://hooks.example/?x=y&key=canary"}, "secret in its query"),
        ({"url": "https://hooks.example/?sv=1&%73ig=canary"}, "secret in its query"),
        ({"url": "env:canary"}, "environment variable's name in capitals"),
        ({"secrets": ["whsec_canary"]}, "not a secret reference"),
        ({"bearer": "canary"}, "not a secret reference"),
        ({"events": "github.issues*"}, "events"),
        ({"timeout_ms": 0}, "timeout_ms"),
        ({"circuit": {"rest_ms": 2000, "max_rest_ms": 1000}}, "longer than max_rest_ms"),
        ({"retries": 3}, "retries"),
    ],
)
def test_mistakes_of_a_target_are_told_without_what_was_written(
    change: dict[str, Any], told: str
) -> None:
    given = {"events": "shop.*", "url": "https://hooks.example/", **change}
    with pytest.raises(ValidationError, match=told) as refused:
        ForwardSettings.model_validate(given)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        {"table": "a b"},
        {"key": {}},
        {"key": {"id": "issue/id"}},
        {"columns": {"x y": "/a"}},
        {"columns": {"at": "event:nothing"}},
        {"delete_on": "github.issues.*"},
        {"stale": "refetch"},
        {"create": True},
    ],
)
def test_mistakes_of_a_mapping_are_told(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        UpsertSettings.model_validate({**yaml.safe_load(ISSUES), **change})


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/tokens/reset?keyboard=de&design=2",
        "https://hooks.example/?partition_key_name",
        "env:TARGET_URL",
        "vault:secret/target#url",
    ],
)
def test_an_address_without_a_secret_or_its_reference_is_taken(url: str) -> None:
    assert ForwardSettings.model_validate({"events": "shop.*", "url": url}).url == url


def test_an_address_that_is_a_secret_is_named_and_never_told() -> None:
    async def inside() -> HttpServer:
        async with http_server() as server:
            address = server.url("/hook?token=canary")
            resolver = Resolver([EnvironmentBackend({"TARGET_URL": address, "BAD": "canary"})])
            handlers = Handlers()
            targets = [
                ForwardSettings(events=f"shop.{at}", url=url)
                for at, url in enumerate(["env:TARGET_URL", "env:BAD"])
            ]
            register(handlers, forward_to=targets[:1], resolver=resolver, store_url=SQLITE)
            handler = handlers.find("shop.0")
            assert handler is not None
            assert "canary" not in handler.name
            await handler.function(event("shop.0", {"n": 1}))
            with pytest.raises(ConfigurationError, match=r"forward\.0: .*its url is none") as told:
                register(handlers, forward_to=targets[1:], resolver=resolver, store_url=SQLITE)
            assert "canary" not in str(told.value)
            return server

    (got,) = asyncio.run(inside()).received
    assert got.line.startswith("POST /hook?token=canary ")


def test_what_only_shows_at_start_says_where_it_is() -> None:
    target = {"events": "shop.*", "url": "https://hooks.example/"}
    with pytest.raises(SecretError, match=r"consumer\.forward\.0: env:MISSING cannot be read"):
        registered(forward_to=[{**target, "bearer": "env:MISSING"}])
    with pytest.raises(SecretError, match=r"consumer\.forward\.0: a Standard Webhooks secret"):
        registered(forward_to=[{**target, "secrets": ["env:BAD"]}])
    with pytest.raises(ConfigurationError, match=r"consumer\.forward\.1: two handlers for 'shop"):
        registered(forward_to=[target, target])
    mapping = {**yaml.safe_load(ISSUES), "columns": {"id": "/issue/id"}}
    with pytest.raises(ConfigurationError, match=r"consumer\.upsert\.0: .* take it from columns"):
        registered(upsert_into=[mapping])
    with pytest.raises(HooklineError, match="redis has none"):
        registered(upsert_into=[yaml.safe_load(ISSUES)], store_url="redis://localhost/0")


def test_the_paramstyle_follows_the_store() -> None:
    styles = {url: paramstyle(url) for url in (SQLITE, "postgresql://h/db", "postgres://h/db")}
    assert list(styles.values()) == ["qmark", "format", "format"]
