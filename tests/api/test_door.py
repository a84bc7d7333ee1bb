"""Who is let in, how often, and that whatever goes wrong is told as a problem."""

from __future__ import annotations

import json
import re

import pytest
from starlette.testclient import TestClient

from console.access.rates import Rate
from console.api.app import ApiRates
from console.api.operations import OPERATIONS, PREFIX, Operation
from console.api.problem_kinds import KINDS
from schemas.api_token import Scope
from tests.api.stage import ApiStage

EVERY = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.id)


def path(operation: Operation) -> str:
    return PREFIX + operation.path.replace("{id}", "abcdefghijkl")


def problem(answer: object) -> dict[str, object]:
    """The problem, whose form is right; everything that an answer has is there."""
    headers, status = answer.headers, answer.status_code  # type: ignore[attr-defined]
    assert headers["content-type"] == "application/problem+json"
    body: dict[str, object] = answer.json()  # type: ignore[attr-defined]
    code = str(body["type"]).removeprefix("urn:hookline:api:")
    assert KINDS[code].status == body["status"] == status
    assert body["title"] == KINDS[code].title
    assert body["request_id"] == headers["x-request-id"]
    assert body["instance"] == f"urn:hookline:request:{headers['x-request-id']}"
    assert body["detail"]
    assert re.fullmatch(r"total;dur=\d+\.\d", headers["server-timing"])
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    return {"code": code} | body


@EVERY
def test_only_a_token_with_the_scope_is_let_in(api: ApiStage, operation: Operation) -> None:
    client = api.client()
    others = [scope for scope in Scope if scope is not operation.scope]
    answer = api.client(*others).request(operation.method, path(operation))
    assert answer.status_code == 403
    assert operation.scope.value in str(problem(answer)["detail"])
    for presented in ("", "Bearer", "Bearer ", "Bearer hl_production_xxx", "Basic eDp5", "hc_x"):
        client.headers["authorization"] = presented
        answer = client.request(operation.method, path(operation))
        assert answer.status_code == 401, presented
        assert answer.headers["www-authenticate"] == "Bearer"
        assert problem(answer)["code"] == "unauthenticated"
        api.stage.gate.throttle.__init__()  # type: ignore[misc]
    assert api.audit.records == []


def test_a_cookie_of_the_console_admits_nobody(api: ApiStage) -> None:
    api.have()
    browser = TestClient(api.app, follow_redirects=False)
    signed_in = browser.post("/sign-in", data={"token": api.stage.token(), "next": "/"})
    assert signed_in.status_code == 303
    assert browser.get("/").status_code == 200
    assert browser.get("/api/v1/connections").status_code == 401
    assert browser.post("/api/v1/connections/acme-github/revoke").status_code == 401
    # And a session token of a customer's is no API token.
    token = api.service.make()
    assert api.client(token=token).get("/api/v1/connections").status_code == 401


def test_who_tries_tokens_must_wait(api: ApiStage) -> None:
    client = api.client(token="hl_production_nonsense")
    answers = [client.get("/api/v1/systems") for _ in range(8)]
    assert {one.status_code for one in answers} == {401, 429}
    assert problem(answers[-1])["code"] == "rate_limited"
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_while_the_tokens_are_not_known_it_says_so(
    api: ApiStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = api.client()
    monkeypatch.setattr(type(api.stage.ledger), "problem", "Kafka is away", raising=False)
    answer = client.get("/api/v1/systems")
    assert problem(answer)["code"] == "unavailable"
    assert answer.headers["retry-after"] == "5"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "OPTIONS", "QUERY", "DELETE"])
def test_another_method_is_told_those_that_there_are(api: ApiStage, method: str) -> None:
    client = api.client()
    answer = client.request(method, "/api/v1/connections")
    assert problem(answer)["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "GET, HEAD"
    if method != "DELETE":
        answer = client.request(method, "/api/v1/connections/x")
        assert answer.headers["allow"] == "DELETE, GET, HEAD"


@pytest.mark.parametrize(
    "address",
    ["/api", "/api/", "/api/v1", "/api/v2/systems", "/api/v1/systems/", "/api/v1/connections/a/b/c",
     "/api/v1/openapi.json/", "/api/v1//systems", "/api/v1/%2e%2e/alerts"],
)  # fmt: skip
def test_an_address_that_there_is_not(api: ApiStage, address: str) -> None:
    assert problem(api.client().get(address))["code"] == "not_found"


def test_bodies_are_bounded_and_json(api: ApiStage) -> None:
    client, where = api.client(), "/api/v1/connect-sessions"

    def post(content: object, kind: str = "application/json", **headers: str) -> str:
        sent = {"content-type": kind} | headers
        answer = client.post(where, content=content, headers=sent)  # type: ignore[arg-type]
        return str(problem(answer)["code"])

    good = json.dumps({"tenant": "acme"})
    assert post(good, "text/plain") == "not_json"
    assert post(good, "application/x-www-form-urlencoded") == "not_json"
    assert post(good, **{"content-encoding": "gzip"}) == "not_json"
    assert post(json.dumps({"tenant": "acme", "label": "x" * 70_000})) == "too_large"

    def pieces():  # type: ignore[no-untyped-def]
        for _ in range(100):
            yield b" " * 1024

    assert post(pieces()) == "too_large"
    for bad in ("", "{", "[]]", "nonsense", b"\xff\xfe", '{"tenant": "\\ud800"}', "[" * 60_000):
        assert post(bad) in ("malformed", "invalid"), bad
    for bad in ("[]", "7", "null", '"tenant"'):
        assert post(bad) == "invalid", bad
    assert (
        client.post(
            where, content=good, headers={"content-type": "Application/JSON; charset=utf-8"}
        ).status_code
        == 201
    )
    # Where nothing is wanted nothing is taken.
    answer = client.request("DELETE", "/api/v1/connections/x", json={"a": 1})
    assert problem(answer)["code"] == "malformed"
    answer = client.post("/api/v1/connections/x/pause", json={"a": 1})
    assert problem(answer)["code"] == "invalid"


def test_nothing_that_was_sent_is_quoted_back(api: ApiStage) -> None:
    canary = "canary-8d1f"
    client = api.client()
    for body in (
        {"tenant": canary.upper()},
        {"tenant": "acme", "locale": f"{canary}!"},
        {"tenant": "acme", "origin": f"https://{canary}.example.com"},
        {"tenant": "acme", "system": canary},
    ):
        answer = client.post("/api/v1/connect-sessions", json=body)
        assert answer.status_code == 422
        assert canary not in answer.text.lower()
    answer = client.post("/api/v1/connect-sessions", json={"tenant": "acme", "ключ\n" * 99: 1})
    assert "\\n" not in answer.text
    assert answer.text.isascii()
    client.headers["authorization"] = f"Bearer {canary}"
    assert canary not in client.get("/api/v1/systems").text


def test_limits_are_told_and_kept(tmp_path_factory: pytest.TempPathFactory) -> None:
    rates = ApiRates(requests=Rate(5, 1), changes=Rate(2, 0.5))
    api = ApiStage(tmp_path_factory.mktemp("api"), rates=rates)
    client, other = api.client(), api.client()
    first = client.get("/api/v1/systems")
    assert first.headers["ratelimit-policy"] == '"requests";q=5;w=5, "changes";q=2;w=4'
    assert first.headers["ratelimit"] == '"requests";r=4;t=1, "changes";r=2;t=0'
    for _ in range(2):
        assert client.post("/api/v1/connections/x/pause").status_code == 404
    refused = client.post("/api/v1/connections/x/pause")
    assert problem(refused)["code"] == "rate_limited"
    assert int(refused.headers["retry-after"]) == 3
    assert '"changes";r=0;t=4' in refused.headers["ratelimit"]
    assert client.get("/api/v1/systems").status_code == 200
    assert client.get("/api/v1/systems").status_code == 429
    # Another token's own are whole.
    assert other.get("/api/v1/systems").status_code == 200
    api.clock_s += 60
    assert client.post("/api/v1/connections/x/pause").status_code == 404
    api.close()


def test_a_fault_of_ours_is_a_problem_too(api: ApiStage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(at: object) -> object:
        raise RuntimeError("canary-internal")

    client = api.client()
    monkeypatch.setattr(api.book, "look", broken)
    answer = client.get("/api/v1/connections")
    assert problem(answer)["code"] == "fault"
    assert "canary" not in answer.text
