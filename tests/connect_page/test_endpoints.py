"""What the component asks: who is let in, from which pages, how often, and what it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from console.access.rates import Buckets, Rate
from console.app import build
from console.connect import ConnectHttp, hosted_link
from console.connect.http import ConnectRates
from console.connect.origins import Origins
from credentials.secret import Secret
from producer.connect.service import FlowRefused, WantedSession
from schemas.errors import ConfigurationError, SecretUnavailable
from tests.connect_page.fake_service import FakeService
from tests.connect_page.script import SIGNING_SECRET, search
from tests.connect_page.stage import ConnectStage
from tests.console.stage import Stage

SHOP = "https://crm.example.com"
SECRET = "github_pat_marked_in_this_test"


class Asking:
    """A component without a browser."""

    def __init__(self, stage: Stage, rates: ConnectRates | None = None) -> None:
        self.service = FakeService()
        self.now_s = 0.0
        self.http = ConnectHttp(
            self.service,
            search,
            allowed_origins=[SHOP, "http://localhost:5173"],
            public_url="https://console.example.com",
            rates=rates,
            clock_s=lambda: self.now_s,
        )
        self.stage = stage
        self.client = TestClient(
            build(stage.parts, stage.gate, connect=self.http),
            base_url="https://console.example.com",
            raise_server_exceptions=False,
        )

    def ask(self, path: str, token: str = "", body: Any = None, **headers: str) -> httpx.Response:
        """One request of the component's."""
        sent = {"authorization": f"Bearer {token}"} if token else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if body is None:
            return self.client.get(f"/connect/api/{path}", headers=sent)
        return self.client.post(f"/connect/api/{path}", headers=sent, json=body)


@pytest.fixture
def asking(fresh: Stage) -> Asking:
    return Asking(fresh)


def test_a_session_token_admits_and_nothing_else_does(asking: Asking) -> None:
    token = asking.service.make()
    answer = asking.ask("state", token)
    assert answer.status_code == 200
    assert answer.json()["step"] == "choose"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"]
    api_token = asking.stage.token()
    signed_in = asking.stage.visitor()
    asking.client.cookies.update(signed_in.cookies)
    for other in (api_token, "", token[:-1], "x" * 9_000):
        answer = asking.ask("state", other)
        assert answer.status_code == 401, other[:12]
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "unknown"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
    # And it admits to nothing of the console's.
    for path in ("/events", "/live", "/api/v1/connections"):
        answer = asking.client.get(path, headers={"authorization": f"Bearer {token}"})
        assert answer.status_code in (401, 404)


@pytest.mark.parametrize("reason", ["expired", "ended", "environment"])
def test_a_session_that_counts_no_more_says_why(asking: Asking, reason: str) -> None:
    token = asking.service.make()
    asking.service.end(token, reason)
    for path, body in (("state", None), ("changes", None), ("systems", None), ("reveal", {})):
        answer = asking.ask(path, token, body)
        assert (answer.status_code, answer.json()["code"]) == (401, reason)
        assert answer.json()["detail"]


def test_pages_of_the_list_are_let_in_and_no_others(asking: Asking) -> None:
    token = asking.service.make()
    for origin in (SHOP, "http://localhost:5173"):
        answer = asking.ask("state", token, origin=origin, sec_fetch_site="cross-site")
        assert answer.headers["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in answer.headers
        assert "Origin" in answer.headers["vary"]
    # A refusal can be read there, too.
    assert asking.ask("state", "", origin=SHOP).headers["access-control-allow-origin"] == SHOP
    foreign = (
        "https://evil.example.com", "null", "http://crm.example.com", f"{SHOP}:8443",
        f"{SHOP}.evil.com", "https://evilcrm.example.com", "http://localhost:5174", f"{SHOP}/",
    )  # fmt: skip
    for origin in foreign:
        for answer in (
            asking.ask("state", token, origin=origin),
            asking.ask("actions", token, {"action": "cancel", "revision": 0}, origin=origin),
            asking.client.options("/connect/api/state", headers={"origin": origin}),
        ):
            assert answer.status_code == 403, origin
            assert "access-control-allow-origin" not in answer.headers, origin
    assert asking.service.acted == []
    own = asking.ask("state", token, origin="https://console.example.com")
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers


def test_a_preflight_is_answered_without_a_session(asking: Asking) -> None:
    asked = {"origin": SHOP, "access-control-request-method": "POST"}
    answer = asking.client.options("/connect/api/actions", headers=asked)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert answer.headers["access-control-allow-headers"] == "authorization, content-type"
    assert answer.headers.get_list("access-control-allow-origin") == [SHOP]


def test_a_session_of_one_page_is_not_for_another(asking: Asking) -> None:
    token = asking.service.make(WantedSession(tenant="acme", origin=SHOP))
    assert asking.ask("state", token, origin=SHOP).status_code == 200
    assert asking.ask("state", token).status_code == 200
    other = asking.ask("state", token, origin="http://localhost:5173")
    assert (other.status_code, other.json()["code"]) == (403, "origin")


def test_an_action_is_done_and_answers_with_the_view(asking: Asking) -> None:
    token = asking.service.make()
    body = {"action": "choose", "revision": 0, "system": "github"}
    assert asking.ask("actions", token, body).json()["step"] == "details"
    stale = asking.ask("actions", token, body)
    assert (stale.status_code, stale.json()["code"]) == (409, "stale")
    assert stale.json()["view"]["step"] == "details"
    values = {"url": "https://github.com/acme/nowhere", "token": SECRET}
    wrong = asking.ask("actions", token, {"action": "details", "revision": 1, "values": values})
    assert wrong.json()["form"]["fields"][0]["mistake"]
    assert SECRET not in wrong.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"action":"fly","revision":0}', 400),
        (b'{"action":"details","revision":-1}', 400),
        (b'{"action":"details","revision":0,"values":{"a":1}}', 400),
        (b'{"action":"details","revision":0,"more":1}', 400),
        (b'{"action":"details","revision":0,"values":{"t":"' + SECRET.encode() + b'"}', 400),
        (b'{"action":"details","revision":0,"values":{"t":"' + b"x" * 16_385 + b'"}}', 400),
        (json.dumps({"action": "details", "revision": 0,
                     "values": {str(n): "" for n in range(41)}}).encode(), 400),
        (b"\xff\xfe", 400),
        (b"x" * 65_537, 413),
    ],
)  # fmt: skip
def test_what_is_no_action_is_refused_and_not_repeated(
    asking: Asking, body: bytes, status: int
) -> None:
    headers = {"authorization": f"Bearer {asking.service.make()}"}
    headers["content-type"] = "application/json"
    answer = asking.client.post("/connect/api/actions", headers=headers, content=body)
    assert answer.status_code == status
    assert SECRET not in answer.text
    assert asking.service.acted == []


def test_a_form_of_a_page_elsewhere_is_no_json(asking: Asking) -> None:
    headers = {"authorization": f"Bearer {asking.service.make()}"}
    answer = asking.client.post("/connect/api/actions", headers=headers, data={"action": "cancel"})
    assert answer.status_code == 415


def test_a_part_that_is_away_is_told_without_its_name(asking: Asking) -> None:
    token = asking.service.make()
    asking.service.refuse = [
        FlowRefused("unavailable", "Try again in a moment."),
        SecretUnavailable("vault at https://vault.internal:8200 is sealed"),
        RuntimeError("a fault with " + SECRET),
    ]
    body = {"action": "choose", "revision": 0, "system": "github"}
    found = [asking.ask("actions", token, body, origin=SHOP) for _ in range(3)]
    assert [one.status_code for one in found] == [503, 503, 500]
    assert found[0].headers["retry-after"] == "5"
    assert all(one.headers["access-control-allow-origin"] == SHOP for one in found)
    assert all("vault" not in one.text and SECRET not in one.text for one in found)


def test_systems_are_searched_within_what_the_session_may_choose(asking: Asking) -> None:
    everything = asking.ask("systems", asking.service.make()).json()["systems"]
    assert [one["id"] for one in everything][:2] == ["github", "gitlab"]
    assert set(everything[0]) == {
        "id", "name", "about", "initials", "colour", "path", "categories",
    }  # fmt: skip
    few = asking.service.make(WantedSession(tenant="acme", systems=("stripe", "slack")))
    found = asking.ask("systems?q=s&limit=10", few).json()["systems"]
    assert [one["id"] for one in found] == ["slack", "stripe"]
    assert len(asking.ask("systems?limit=1", few).json()["systems"]) == 1
    for query in ("limit=0", "limit=-1", "limit=x", "limit=99999", "q=" + "x" * 101):
        assert asking.ask(f"systems?{query}", few).status_code == 400, query


def test_the_signing_secret_is_told_to_its_session_and_kept_by_nobody(asking: Asking) -> None:
    answer = asking.ask("reveal", asking.service.make(), {})
    assert answer.json() == {"secret": SIGNING_SECRET}
    assert answer.headers["cache-control"] == "no-store"
    assert asking.client.get("/connect/api/reveal").status_code == 405


def test_who_asks_too_often_waits(fresh: Stage) -> None:
    asking = Asking(fresh, ConnectRates(actions=Rate(2, 0.5), of_session=Rate(5, 1)))
    token = asking.service.make()
    body = {"action": "choose", "revision": 9, "system": "github"}
    statuses = [asking.ask("actions", token, body).status_code for _ in range(3)]
    assert statuses == [409, 409, 429]
    assert asking.ask("actions", token, body).headers["retry-after"] == "3"
    assert asking.ask("state", token).status_code == 200
    assert asking.ask("state", token).json()["code"] == "too_often"
    other = asking.service.make()
    assert asking.ask("state", other).status_code == 200
    asking.now_s = 60.0
    assert asking.ask("actions", token, body).status_code == 409


def test_who_guesses_waits_and_a_session_that_has_expired_is_no_guess(asking: Asking) -> None:
    expired = asking.service.make()
    asking.service.end(expired, "expired")
    assert {asking.ask("state", expired).status_code for _ in range(10)} == {401}
    statuses = [asking.ask("state", "hc_production_wrong").status_code for _ in range(7)]
    assert statuses[:5] == [401] * 5
    assert statuses[-1] == 429


def test_the_console_goes_on_beside_it(asking: Asking) -> None:
    assert asking.client.get("/livez").status_code == 200
    assert asking.client.get("/connections").status_code in (200, 401)
    for path in ("/connect/api/none", "/connect/a/b"):
        assert asking.client.get(path).status_code == 404


def test_the_component_may_be_loaded_by_any_page_and_holds_nothing(asking: Asking) -> None:
    answer = asking.client.get("/connect/hookline-connect.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    again = {"if-none-match": answer.headers["etag"]}
    assert asking.client.get("/connect/hookline-connect.js", headers=again).status_code == 304


def test_the_hosted_page_is_strict_and_framed_by_the_list_alone(asking: Asking) -> None:
    answer = asking.client.get("/connect/abcdefgh")
    policy = answer.headers["content-security-policy"]
    assert f"frame-ancestors http://localhost:5173 {SHOP}" in policy
    assert "x-frame-options" not in answer.headers
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "<script>" not in answer.text
    assert "style=" not in answer.text
    assert "abcdefgh" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    alone = ConnectHttp(asking.service, search)
    client = TestClient(build(asking.stage.parts, asking.stage.gate, connect=alone))
    answer = client.get("/connect/x")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"


def test_the_link_keeps_the_token_from_every_server(asking: Asking) -> None:
    token = asking.service.make()
    link = httpx.URL(hosted_link("https://console.example.com/", Secret(token)).reveal())
    assert link.fragment == token
    assert token not in link.path
    assert asking.client.get(link.path).status_code == 200


def test_the_way_back_says_what_to_do_next_and_runs_nothing(asking: Asking) -> None:
    evil = "%3Cscript%3Ealert(1)%3C/script%3E"
    answer = asking.client.get(f"/connect/callback?state={evil}&code={evil}&error={evil}")
    assert answer.status_code == 400
    assert "alert(1)" not in answer.text
    assert "Go back" in answer.text
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert asking.client.get("/connect/callback").status_code == 400
    statuses = {asking.client.get("/connect/callback").status_code for _ in range(40)}
    assert statuses == {400, 429}


@pytest.mark.parametrize(
    "wrong",
    ["*", "https://*.example.com", "example.com", "http://example.com", "https://a.com/",
     "https://a.com/x", "https://a.com:443", "https://u@a.com", "null", "https://a.com; x",
     "https://[", "ftp://a.com"],
)  # fmt: skip
def test_what_is_no_origin_is_said_at_the_start(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="allowed_origins"):
        Origins([wrong])


def test_buckets_fill_again_and_are_bounded() -> None:
    buckets = Buckets(Rate(2, 1), max_keys=3)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert buckets.take("a", 1.0) == 0.0
    assert 0.0 < buckets.take("a", 1.5) <= 0.5
    for key in "bcdef":
        buckets.take(key, 2.0)
    assert len(buckets) == 3


# The stream.


@pytest.fixture
def streaming(connect: ConnectStage) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=connect.console.url, timeout=10) as client:
        yield client


def _states(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


def test_changes_begin_with_the_state_and_end_with_the_flow(
    connect: ConnectStage, streaming: httpx.Client
) -> None:
    token = connect.session("github")
    headers = {"authorization": f"Bearer {token}"}
    with streaming.stream("GET", "/connect/api/changes", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in answer.headers["cache-control"]
        states = _states(answer)
        assert next(states)["step"] == "details"
        body = {"action": "cancel", "revision": 1}
        assert streaming.post("/connect/api/actions", headers=headers, json=body).is_success
        assert [one["step"] for one in states] == ["cancelled"]


def test_streams_of_a_session_are_bounded_and_given_back(
    connect: ConnectStage, streaming: httpx.Client
) -> None:
    token = connect.session("github")
    headers = {"authorization": f"Bearer {token}"}
    clients = [httpx.Client(base_url=connect.console.url, timeout=10) for _ in range(6)]
    open_ = [one.stream("GET", "/connect/api/changes", headers=headers) for one in clients]
    # Held: a generator that is let go of closes its stream.
    held = [_states(one.__enter__()) for one in open_]
    assert {next(states)["step"] for states in held} == {"details"}
    one_more = streaming.get("/connect/api/changes", headers=headers)
    assert (one_more.status_code, one_more.json()["code"]) == (503, "too_many")
    assert streaming.get("/connect/api/state", headers=headers).status_code == 200
    for one, client in zip(open_, clients, strict=True):
        one.__exit__(None, None, None)
        client.close()
    for _ in range(200):
        with streaming.stream("GET", "/connect/api/changes", headers=headers) as answer:
            if answer.status_code == 200:
                break
    assert answer.status_code == 200
