"""Connect sessions and systems."""

from __future__ import annotations

import pytest

from producer.connect.service import FlowRefused
from producer.connect.session import SessionRefused, parse_session_token
from schemas.api_token import Scope
from schemas.audit import Phase
from tests.api.stage import SYSTEMS, ApiStage

SESSIONS = "/api/v1/connect-sessions"
A, B = SYSTEMS[0].id, SYSTEMS[1].id


def test_a_session_is_made_and_its_token_is_shown_once(api: ApiStage) -> None:
    client = api.client(Scope.CONNECTIONS_WRITE)
    wanted = {"tenant": "acme", "system": A, "label": "Team Ü", "origin": "https://app.example.com"}
    answer = client.post(SESSIONS, json=wanted)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert parse_session_token(made["token"]).id == made["session"]
    assert made["url"] == (f"https://console.example.com/connect/{made['session']}#{made['token']}")
    looked = client.get(f"{SESSIONS}/{made['session']}")
    assert looked.status_code == 200
    assert looked.json()["tenant"] == "acme"
    assert looked.json()["system"] == A
    assert looked.json()["expires_at"] == made["expires_at"]
    assert made["token"] not in looked.text
    intent, result = api.audit.records
    assert (intent.phase, result.phase) == (Phase.INTENT, Phase.DONE)
    assert (intent.action, intent.target, intent.via) == ("connect_session.create", "acme", "api")
    assert result.details["session"] == made["session"]
    assert intent.request_id.hex() == answer.headers["x-request-id"]
    assert not any(made["token"] in str(one) for one in api.audit.records)


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/tenant"}),
        ({"tenant": "ACME"}, {"/tenant"}),
        ({"tenant": "a/b"}, {"/tenant"}),
        ({"tenant": 7}, {"/tenant"}),
        ({"tenant": "acme", "wat": 1, "a/b~": 2}, {"/wat", "/a~1b~0"}),
        ({"tenant": "acme", "systems": [A, "nowhere"]}, {"/systems/1"}),
        ({"tenant": "acme", "system": "nowhere"}, {"/system"}),
        ({"tenant": "acme", "systems": [A], "system": B}, {"/system"}),
        ({"tenant": "acme", "label": "two\nlines"}, {"/label"}),
        ({"tenant": "acme", "label": "x" * 201}, {"/label"}),
        ({"tenant": "acme", "origin": "https://evil.example.com"}, {"/origin"}),
        ({"tenant": "acme", "origin": "javascript:alert(1)"}, {"/origin"}),
        ({"tenant": "acme", "locale": "../en"}, {"/locale"}),
        ({"tenant": "acme", "connection_id": "x y"}, {"/connection_id"}),
    ],
)
def test_each_mistake_is_named_by_its_place(
    api: ApiStage, body: dict[str, object], pointers: set[str]
) -> None:
    answer = api.client().post(SESSIONS, json=body)
    assert answer.status_code == 422
    assert {one["pointer"] for one in answer.json()["errors"]} == pointers
    assert all(one["detail"] for one in answer.json()["errors"])
    assert api.audit.records == []


@pytest.mark.parametrize(
    ("refused", "status", "code"),
    [
        (FlowRefused("exists", "it is there"), 409, "exists"),
        (FlowRefused("unknown_system", "no such"), 422, "invalid"),
        (FlowRefused("invalid", "bad"), 422, "invalid"),
        (FlowRefused("unavailable", "Kafka is away"), 503, "unavailable"),
        (FlowRefused("anything", "later"), 409, "not_now"),
    ],
)
def test_what_the_flow_refuses_is_a_problem(
    api: ApiStage, refused: FlowRefused, status: int, code: str
) -> None:
    api.service.refuse = [refused]
    answer = api.client().post(SESSIONS, json={"tenant": "acme"})
    assert answer.status_code == status
    assert answer.json()["type"] == f"urn:hookline:api:{code}"
    assert answer.json()["detail"] == refused.text
    assert ("retry-after" in answer.headers) == (status == 503)
    assert api.audit.records[-1].phase is Phase.FAILED


def test_a_session_that_is_not_there_or_over(
    api: ApiStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = api.client()
    assert client.get(f"{SESSIONS}/abcdefghijkl").status_code == 404
    assert client.get(f"{SESSIONS}/{'x' * 500}").status_code == 404

    async def over(session_id: str) -> object:
        raise SessionRefused("expired", "It is over.")

    monkeypatch.setattr(api.service, "view", over)
    answer = client.get(f"{SESSIONS}/abcdefghijkl")
    assert answer.status_code == 410
    assert answer.json()["type"] == "urn:hookline:api:session_over"


def test_systems_are_searched_and_shown(api: ApiStage) -> None:
    client = api.client(Scope.EVENTS_READ)
    all_ = client.get("/api/v1/systems").json()["systems"]
    assert [one["id"] for one in all_] == [one.id for one in SYSTEMS]
    assert len(client.get("/api/v1/systems?limit=1").json()["systems"]) == 1
    name = SYSTEMS[1].name
    found = client.get("/api/v1/systems", params={"q": name}).json()["systems"]
    assert B in [one["id"] for one in found]
    category = SYSTEMS[0].categories[0]
    found = client.get("/api/v1/systems", params={"category": category.upper()}).json()["systems"]
    assert A in [one["id"] for one in found]
    assert client.get("/api/v1/systems", params={"category": "none"}).json() == {"systems": []}
    with_fields = next(one for one in SYSTEMS if one.fields)
    one = client.get(f"/api/v1/systems/{with_fields.id}").json()
    assert one["name"] == with_fields.name
    assert [field["id"] for field in one["fields"]] == [f.id for f in with_fields.all_fields()]
    assert client.get("/api/v1/systems/nowhere").status_code == 404
    for bad in ("limit=0", "limit=101", "limit=x", "limit=1&limit=2", "wat=1", "q=" + "x" * 101):
        answer = client.get(f"/api/v1/systems?{bad}")
        assert answer.status_code == 422, bad
        assert answer.json()["errors"], bad


def test_without_the_connect_flow_it_says_what_to_set_up(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    made = ApiStage(tmp_path_factory.mktemp("api"), service=None)
    made.have()
    client = made.client()
    for answer in (
        client.post(SESSIONS, json={"tenant": "acme"}),
        client.get("/api/v1/systems"),
        client.post("/api/v1/connections/acme-github/test"),
        client.post("/api/v1/connections/acme-github/rotate-secret"),
    ):
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:hookline:api:not_configured"
        assert "connect" in answer.json()["detail"]
    assert client.get("/api/v1/connections").json()["connections"][0]["id"] == "acme-github"
    made.close()
