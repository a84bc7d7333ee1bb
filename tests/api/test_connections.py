"""Connections: listed, shown, changed; over a topic in memory (test_on_kafka.py has a real one)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from producer.connect.flow.state import Check, CheckState, Explanation
from producer.connections.followed import Changed
from schemas.api_token import Scope
from schemas.audit import Phase
from schemas.connection import ConnectionState
from schemas.connection_record import RecordKey, Writer
from tests.api.stage import ENVIRONMENT, SYSTEMS, ApiStage
from tests.connections.making import connection

URL = "/api/v1/connections"
ONE = f"{URL}/acme-github"
SYSTEM = next(one.id for one in SYSTEMS if one.webhook.secret.source == "generated")


def test_pages_follow_each_other_while_connections_come_and_go(api: ApiStage) -> None:
    for number in range(25):
        api.have(f"c{number:02}", tenant="acme" if number % 2 else "other")
    client = api.client(Scope.EVENTS_READ)
    seen: list[str] = []
    cursor = ""
    while True:
        params = {"limit": "10"} | ({"cursor": cursor} if cursor else {})
        page = client.get(URL, params=params).json()
        seen += [one["id"] for one in page["connections"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        api.have("a-new-one-before")
        api.book.remove(seen[-1])
    assert seen == [f"c{number:02}" for number in range(25)]
    mine = client.get(URL, params={"tenant": "acme", "limit": "200"}).json()
    assert mine["next_cursor"] is None
    assert {one["tenant"] for one in mine["connections"]} == {"acme"}


def test_a_cursor_of_other_filters_or_an_altered_one_is_refused(api: ApiStage) -> None:
    for number in range(3):
        api.have(f"c{number}")
    client = api.client()
    cursor = client.get(URL, params={"limit": "1"}).json()["next_cursor"]
    assert client.get(URL, params={"cursor": cursor, "limit": "2"}).status_code == 200
    bad = [{"cursor": cursor, "tenant": "acme"}]
    bad += [{"cursor": one} for one in ("", "x", cursor[:-1], cursor + "A", "é", "A" * 300)]
    for params in bad:
        answer = client.get(URL, params=params)
        assert answer.status_code == 422, params
        assert answer.json()["errors"][0]["parameter"] == "cursor"


def test_filters(api: ApiStage) -> None:
    api.have("a", system=SYSTEM)
    api.have("b", state=ConnectionState.PAUSED)
    api.have("c", tenant="other")
    api.book.revoke("c", "test")
    api.connections.write(RecordKey(ENVIRONMENT, "d").encode(), b"rubbish")

    def ids(**params: str) -> list[str]:
        found = api.client().get(URL, params=params).json()["connections"]
        return [one["id"] for one in found]

    assert ids() == ["a", "b", "c", "d"]
    assert ids(state="active") == ["a"]
    assert ids(state="paused") == ["b"]
    assert ids(state="revoked") == ["c"]
    assert ids(state="unreadable") == ["d"]
    assert ids(tenant="other") == ["c"]
    assert ids(system=SYSTEM) == ["a"]
    assert ids(system=SYSTEM, state="paused") == []


def test_one_is_shown_with_names_and_times_of_secrets_and_no_reference(api: ApiStage) -> None:
    refs = {"first": "sealed:acme/canary/first", "second": "env:CANARY"}
    api.have(system=SYSTEM, refs=refs)
    api.book.revoke("acme-github", "test", "second")
    answer = api.client().get(ONE)
    one = answer.json()
    assert (one["state"], one["system"], one["label"]) == ("active", SYSTEM, "Team A")
    assert one["account"] == "octocat"
    assert {s["name"]: s["state"] for s in one["secrets"]} == {
        "first": "active",
        "second": "revoked",
    }
    for text in ("canary", "CANARY", "sealed", "github.example.com"):
        assert text not in answer.text
    assert api.client().get(f"{URL}/nobody").status_code == 404


def test_pausing_and_resuming(api: ApiStage) -> None:
    api.have(system=SYSTEM)
    client = api.client(Scope.CONNECTIONS_WRITE)
    for action, state in (("pause", "paused"), ("resume", "active")):
        answer = client.post(f"{ONE}/{action}")
        assert (answer.status_code, answer.json()["state"]) == (200, state)
        assert answer.json()["system"] == SYSTEM
        intent, result = api.audit.records[-2:]
        assert (intent.action, intent.connection) == (f"connection.{action}", "acme-github")
        assert result.phase is Phase.DONE
    written = len(api.connections.records)
    # What is so already is not written, nor in the audit log.
    assert client.post(f"{ONE}/resume", json={}).json()["state"] == "active"
    assert len(api.connections.records) == written
    assert client.post(f"{URL}/nobody/pause").status_code == 404


def test_what_was_revoked_or_cannot_be_read_is_not_changed(api: ApiStage) -> None:
    api.have()
    client = api.client()
    answer = client.post(f"{ONE}/revoke")
    assert (answer.status_code, answer.json()["state"]) == (200, "revoked")
    assert client.post(f"{ONE}/revoke").status_code == 200
    for action in ("pause", "resume", "rotate-secret", "test"):
        answer = client.post(f"{ONE}/{action}")
        assert answer.status_code == 409, action
        assert answer.json()["type"] == "urn:hookline:api:revoked"
    assert client.get(ONE).json()["state"] == "revoked"
    api.connections.write(RecordKey(ENVIRONMENT, "d").encode(), b"rubbish")
    answer = client.post(f"{URL}/d/pause")
    assert answer.json()["type"] == "urn:hookline:api:unreadable"
    assert client.post(f"{URL}/d/revoke").json()["state"] == "revoked"
    assert client.post(f"{URL}/nobody/revoke").status_code == 404


def test_a_revocation_waits_for_no_audit_log_and_no_ledger(api: ApiStage) -> None:
    api.have()
    api.audit.away = True
    client = api.client()
    assert client.post(f"{ONE}/resume").status_code == 200
    refused = client.post("/api/v1/connect-sessions", json={"tenant": "acme"})
    assert refused.status_code == 503
    assert client.post(f"{ONE}/revoke").status_code == 200
    assert api.book.look(lambda ledger: ledger.revoked("acme-github"))
    # While the topic is read from its beginning nothing is known, and it can be revoked all the
    # same.
    api.book._known = None
    assert client.get(URL).status_code == 503
    assert client.get(URL).headers["retry-after"]
    before = len(api.connections.records)
    api.book._seen = lambda offset, within_s: False  # type: ignore[method-assign]
    answer = client.post(f"{URL}/another/revoke")
    assert (answer.status_code, answer.json()["state"]) == (200, "revoked")
    assert len(api.connections.records) == before + 1


def test_a_change_that_came_between_is_not_lost(api: ApiStage) -> None:
    api.have()

    def between() -> None:
        api.book._writing.release()
        api.have(tenant="renamed")
        api.book._writing.acquire()

    api.connections.before = [between]
    answer = api.client().post(f"{ONE}/pause")
    assert (answer.json()["state"], answer.json()["tenant"]) == ("paused", "renamed")
    # And a revocation that came between stays: nothing is written on top of it.
    assert api.client().post(f"{ONE}/resume").status_code == 200
    api.connections.before = [
        lambda: (api.have(tenant="third"), api.book.revoke("acme-github", "another"))  # type: ignore[list-item,func-returns-value]
    ]
    answer = api.client().post(f"{ONE}/pause")
    assert answer.json()["type"] == "urn:hookline:api:revoked"


def test_who_is_overtaken_again_and_again_is_told(api: ApiStage) -> None:
    api.have()
    api.connections.before = [
        one
        for number in range(5)
        for one in (lambda n=number: api.have(tenant=f"t{n}"), lambda: None)
    ]
    answer = api.client().post(f"{ONE}/pause")
    assert answer.status_code == 503


def test_a_test_shows_the_checks(api: ApiStage) -> None:
    api.have("by-command")
    api.have(system=SYSTEM)
    client = api.client()
    answer = client.post(f"{ONE}/test").json()
    assert answer["passed"] is True
    assert answer["checks"][0]["id"] == "credentials"
    why = Explanation(code="unauthorised", what="No.", why="Old.", next="Make a new one.")
    api.service.checks += (
        Check(id="scopes", title="Scopes", state=CheckState.FAILED, explanation=why),
    )
    answer = client.post(f"{ONE}/test").json()
    assert answer["passed"] is False
    assert answer["checks"][1]["problem"]["next"] == "Make a new one."
    assert client.post(f"{URL}/by-command/test").status_code == 409


def test_deleting(api: ApiStage) -> None:
    api.have(system=SYSTEM)
    api.have("by-command")
    api.have("from-file", by=Writer.FILE, file=True)
    client = api.client()
    answer = client.delete(ONE)
    assert answer.json() == {"removed": True, "left_over": []}
    assert api.service.removed[0][0] == "acme-github"
    assert client.delete(ONE).status_code == 404
    assert client.delete(f"{URL}/by-command").json() == {"removed": True, "left_over": []}
    assert [one.action for one in api.audit.records[-2:]] == ["connection.remove"] * 2
    answer = client.delete(f"{URL}/from-file")
    assert answer.json()["type"] == "urn:hookline:api:from_the_file"
    # What could not be done is told, and can be tried again.
    api.have("stuck", system=SYSTEM)
    api.service.left = ("secrets that may still be there",)
    answer = client.delete(f"{URL}/stuck")
    assert answer.json() == {"removed": False, "left_over": ["secrets that may still be there"]}
    assert client.get(f"{URL}/stuck").json()["state"] == "revoked"
    api.service.left = ()
    assert client.delete(f"{URL}/stuck").json()["removed"] is True


def test_kafka_away_is_said_and_the_page_has_no_internals(api: ApiStage) -> None:
    api.have()
    api.connections.away = True
    answer = api.client().post(f"{ONE}/revoke")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["type"] == "urn:hookline:api:unavailable"


def test_the_last_look_lets_no_literal_out(api: ApiStage) -> None:
    api.have()
    bad = connection("acme-github", environment=ENVIRONMENT, refs={"x": "vault:not-whole"})
    before = len(api.connections.records)
    with pytest.raises(Exception, match="vault"):
        api.book.put("acme-github", lambda _: Changed(replace(bad)), "test")
    assert len(api.connections.records) == before
