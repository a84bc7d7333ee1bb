"""The console's doors: sign-in, cookies, CSRF, scopes, throttling, and what ends a session."""

from __future__ import annotations

import logging

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from console.access import Gate, local_path
from console.access.security_headers import CONTENT_SECURITY_POLICY
from console.access.throttle import FREE_FAILURES, Throttle
from credentials.api_token import make_token
from credentials.token_ledger import TokenLedger
from schemas.api_token import Scope
from schemas.errors import ConfigurationError
from tests.access.console import Console, csrf_of
from tests.access.making import HOUR_US, issue, revoke


@pytest.fixture
def console() -> Console:
    return Console()


def test_without_a_session_a_page_leads_to_the_sign_in_and_back(console: Console) -> None:
    secret, _ = issue(console.ledger)
    browser = console.browser()
    answer = browser.get("/?range=24h")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/sign-in?next=/%3Frange%3D24h",
    )
    answer = browser.post("/sign-in", data={"token": secret.reveal(), "next": "/?range=24h"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/?range=24h")
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize("url", ["http://console.test", "https://console.test"])
def test_the_cookie_is_for_this_host_and_for_no_script(console: Console, url: str) -> None:
    secret, token_id = issue(console.ledger)
    answer = console.browser(url=url).post("/sign-in", data={"token": secret.reveal()})
    cookie = answer.headers["set-cookie"]
    name, _, flags = cookie.partition("=")
    parts = {part.strip().lower() for part in flags.split(";")[1:]}
    secure = url.startswith("https")
    assert name == ("__Host-hookline-session" if secure else "hookline-session")
    assert parts == {"httponly", "path=/", "samesite=strict"} | ({"secure"} if secure else set())
    # What is in it says nothing.
    assert token_id not in cookie
    assert secret.reveal() not in cookie


def test_behind_a_proxy_that_ends_tls_the_public_url_makes_the_cookie_secure() -> None:
    console = Console(public_url="https://console.test")
    secret, _ = issue(console.ledger)
    answer = console.browser().post("/sign-in", data={"token": secret.reveal()})
    assert "secure" in answer.headers["set-cookie"].lower()
    assert "strict-transport-security" in answer.headers


def test_every_answer_has_the_security_headers(console: Console) -> None:
    browser = console.browser()
    for answer in (browser.get("/"), browser.get("/none"), browser.get("/sign-in"),
                   browser.post("/redrive", headers={"origin": "https://evil.test"})):  # fmt: skip
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "frame-ancestors 'none'" in CONTENT_SECURITY_POLICY


def test_a_form_changes_something_only_with_its_sessions_csrf(console: Console) -> None:
    secret, _ = issue(console.ledger)
    browser, other = console.signed_in(secret.reveal()), console.signed_in(secret.reveal())
    right = csrf_of(browser)
    assert len(right) >= 40
    for wrong in ({}, {"csrf": ""}, {"csrf": right[:-1]}, {"csrf": csrf_of(other)}):
        answer = browser.post("/redrive", data={"number": "1", **wrong})
        assert answer.status_code == 403, wrong
    answer = browser.post("/redrive", data={"number": ["1", "2"], "csrf": right})
    assert answer.text == "redriven 1,2"
    assert browser.post("/redrive", headers={"x-csrf-token": right}).status_code == 200
    assert browser.post("/redrive", headers={"x-csrf-token": "é".encode()}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": "http://console.test.evil.test"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_form_of_another_site_is_refused_also_the_sign_in(
    console: Console, headers: dict[str, str]
) -> None:
    secret, _ = issue(console.ledger)
    browser = console.signed_in(secret.reveal())
    data = {"csrf": csrf_of(browser), "token": secret.reveal()}
    for path in ("/redrive", "/sign-in", "/sign-out"):
        assert browser.post(path, data=data, headers=headers).status_code == 403
    own = {"origin": "http://console.test", "sec-fetch-site": "same-origin"}
    assert browser.post("/redrive", data=data, headers=own).status_code == 200


def test_with_a_public_url_only_its_own_origin_may_change_something() -> None:
    console = Console(public_url="https://console.test")
    secret, _ = issue(console.ledger)
    browser = console.browser()
    data = {"token": secret.reveal()}
    expected = {
        "https://console.test": 303,
        "https://console.test:443": 303,
        "http://console.test": 403,
        "https://a.console.test": 403,
    }
    for origin, status in expected.items():
        assert browser.post("/sign-in", data=data, headers={"origin": origin}).status_code == status


def test_a_scope_that_is_missing_is_told_with_the_next_step(console: Console) -> None:
    secret, _ = issue(console.ledger, [Scope.EVENTS_READ])
    browser = console.signed_in(secret.reveal())
    answer = browser.post("/redrive", data={"csrf": csrf_of(browser)})
    assert answer.status_code == 403
    assert "has no scope dead-letters:write" in answer.text
    assert "hookline tokens create --scopes dead-letters:write,events:read" in answer.text


def test_a_script_sends_the_token_itself_and_needs_no_csrf(console: Console) -> None:
    secret, token_id = issue(console.ledger)
    script = console.browser()
    bearer = {"authorization": f"Bearer {secret.reveal()}"}
    assert script.get("/", headers=bearer).text == "csrf="
    assert script.post("/redrive", data={"number": "9"}, headers=bearer).text == "redriven 9"
    assert console.used == [token_id] * 2
    answer = script.get("/", headers={"authorization": "Bearer hl_test_nonsense"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"] == "not_signed_in"


def test_a_revoked_token_ends_its_sessions_at_the_next_request(console: Console) -> None:
    secret, token_id = issue(console.ledger)
    other, _ = issue(console.ledger)
    browser, beside = console.signed_in(secret.reveal()), console.signed_in(other.reveal())
    revoke(console.ledger, token_id)
    assert browser.get("/").status_code == 303
    assert browser.post("/redrive", data={"csrf": "x"}).status_code == 401
    assert len(console.gate.sessions) == 1
    assert beside.get("/").status_code == 200


def test_a_session_ends_with_its_token_and_not_before(console: Console) -> None:
    secret, _ = issue(console.ledger, expires_at_us=console.now_us + HOUR_US)
    browser = console.signed_in(secret.reveal())
    console.now_us += HOUR_US - 1
    assert browser.get("/").status_code == 200
    console.now_us += 1
    assert browser.get("/").status_code == 303


def test_sign_out_ends_the_session_here_too(console: Console) -> None:
    secret, _ = issue(console.ledger)
    browser = console.signed_in(secret.reveal())
    cookies = dict(browser.cookies)
    answer = browser.post("/sign-out", data={"csrf": csrf_of(browser)})
    assert answer.headers["location"] == "/sign-in"
    assert not browser.cookies
    assert console.browser().get("/", cookies=cookies).status_code == 303
    assert len(console.gate.sessions) == 0


def test_a_sign_in_gives_a_new_id_and_ends_the_old_one(console: Console) -> None:
    secret, _ = issue(console.ledger)
    browser = console.browser()
    planted = {"cookie": "hookline-session=chosen-by-somebody-else"}
    browser.post("/sign-in", data={"token": secret.reveal()}, headers=planted)
    assert browser.cookies["hookline-session"] != "chosen-by-somebody-else"
    assert console.browser().get("/", headers=planted).status_code == 303
    browser.post("/sign-in", data={"token": secret.reveal()})
    assert len(console.gate.sessions) == 1


def test_too_many_failures_wait_by_address_and_by_token(console: Console) -> None:
    secret, _ = issue(console.ledger)
    wrong = secret.reveal()[:-1] + ("a" if secret.reveal()[-1] != "a" else "b")
    for n in range(FREE_FAILURES):
        answer = console.browser(f"198.51.100.{n}").post("/sign-in", data={"token": wrong})
        assert answer.status_code == 401
    # The right one too, from anywhere, for a short while: its public part is what was tried.
    answer = console.browser().post("/sign-in", data={"token": secret.reveal()})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
    console.now_us += 2_000_000
    assert console.browser().post("/sign-in", data={"token": secret.reveal()}).status_code == 303
    for _ in range(FREE_FAILURES):
        console.browser().post("/sign-in", data={"token": "nonsense"})
    assert console.browser().post("/sign-in", data={"token": secret.reveal()}).status_code == 429
    elsewhere = console.browser("203.0.113.5")
    assert elsewhere.post("/sign-in", data={"token": secret.reveal()}).status_code == 303


def test_an_address_is_the_sockets_unless_a_proxy_of_ours_says_another() -> None:
    console = Console(proxies=("10.0.0.0/8", "2001:db8::/32"))

    def failures(host: str, forwarded: str) -> set[str]:
        console.gate.throttle = Throttle()
        headers = {"x-forwarded-for": forwarded}
        console.browser(host).post("/sign-in", data={"token": "x"}, headers=headers)
        return set(console.gate.throttle._failures)

    assert failures("192.0.2.1", "203.0.113.9") == {"192.0.2.1"}
    assert failures("10.0.0.1", "203.0.113.9") == {"203.0.113.9"}
    # What a sender wrote before its own address is not believed.
    assert failures("10.0.0.1", "198.51.100.1, 203.0.113.9, 10.9.9.9") == {"203.0.113.9"}
    assert failures("10.0.0.1", "203.0.113.9, nonsense") == {"10.0.0.1"}
    assert failures("10.0.0.1", "") == {"10.0.0.1"}
    assert failures("2001:db8::1", "2001:db9::7") == {"2001:db9::/64"}


def test_a_token_of_another_environment_is_refused_with_both_names(console: Console) -> None:
    alien, _ = make_token("production")
    answer = console.browser().post("/sign-in", data={"token": alien.reveal()})
    assert answer.status_code == 401
    assert "of environment production, and this is test" in answer.text
    assert alien.reveal() not in answer.text


def test_no_token_is_in_a_log_line_an_answer_or_a_text_of_a_session(
    console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    good, token_id = issue(console.ledger)
    wrong = good.reveal()[:-1] + ("a" if good.reveal()[-1] != "a" else "b")
    unknown, alien = make_token("test")[0], make_token("production")[0]
    texts = [good.reveal(), wrong, unknown.reveal(), alien.reveal(), good.reveal()]
    answers = ""
    for n, text in enumerate(texts):
        browser = console.browser(f"203.0.113.{n}")
        for answer in (browser.post("/sign-in", data={"token": text}), browser.get("/"),
                       browser.get("/", headers={"authorization": f"Bearer {text}"})):  # fmt: skip
            answers += answer.text + str(answer.headers)
        revoke(console.ledger, token_id)
    lines = "".join(str(vars(record)) for record in caplog.records)
    assert "an API token was refused" in lines
    assert "signed in to the console" in lines
    assert "was revoked" in answers
    for text in texts:
        assert text[-34:-6] not in lines + answers


def test_nobody_is_let_in_before_the_tokens_are_known() -> None:
    console = Console()
    secret, _ = issue(console.ledger)
    console.ledger.problem = "no answer from Kafka"  # type: ignore[misc]
    answer = console.browser().post("/sign-in", data={"token": secret.reveal()})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "no answer from Kafka" in answer.text


def test_a_link_from_another_site_finds_the_session(console: Console) -> None:
    browser = console.browser()
    # A browser leaves the Strict cookie behind; the page that comes back reloads itself.
    answer = browser.get("/", headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh"' in answer.text


def test_a_long_answer_is_cut_off_when_its_token_is_revoked() -> None:
    console = Console(watch_s=0.01)
    secret, token_id = issue(console.ledger)
    bearer = {"authorization": f"Bearer {secret.reveal()}"}
    # The test client gives an answer once it is whole: that this one ends is what there is to see.
    original = console.gate.counts
    seen = iter([True, True, True])

    def counts(visitor: object) -> bool:
        if next(seen, None) is None:
            revoke(console.ledger, token_id)
        return original(visitor)  # type: ignore[arg-type]

    console.gate.counts = counts  # type: ignore[method-assign]
    answer = console.browser().get("/live", headers=bearer)
    assert answer.status_code == 200
    assert "data: tick" in answer.text


def test_a_route_that_does_not_say_who_may_use_it_is_found_at_the_start() -> None:
    async def open_to_all(request: Request) -> Response:
        return PlainTextResponse("oops")

    gate = Gate(TokenLedger("test"))
    for routes in ([Route("/x", open_to_all)], [Mount("/m", routes=[Route("/x", open_to_all)])],
                   [Mount("/static", app=PlainTextResponse("x"))]):  # fmt: skip
        with pytest.raises(ConfigurationError, match="does not say who may use it"):
            gate.check_routes(routes)
    gate.check_routes([Mount("/static", app=PlainTextResponse("x"))], {"/static"})


@pytest.mark.parametrize(
    "path",
    [
        "//evil.test",
        "///evil.test",
        "https://evil.test",
        "/\\evil.test",
        "javascript:x",
        "",
        None,
        "/\n/x",
    ],
)
def test_after_the_sign_in_nobody_is_led_away(path: object) -> None:
    assert local_path(path) == "/"


def test_a_page_of_ours_is_led_back_to() -> None:
    assert local_path("/requests/00ff?tab=log#x") == "/requests/00ff?tab=log#x"
