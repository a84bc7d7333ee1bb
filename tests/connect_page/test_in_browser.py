"""The component in a real Chromium, embedded in another origin's page and on the hosted one: every
step for everybody, by keyboard, with hostile texts, and with nothing of a secret left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.connect_page.browsing import button, fill, heading, opened, until, violations
from tests.connect_page.script import SIGNING_SECRET
from tests.connect_page.stage import ConnectStage

SHOTS = os.environ.get("HOOKLINE_CONNECT_SHOTS", "")
MARKED = "github_pat_marked_in_the_browser_test"
EVIL = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>{system}\u202ejavascript:alert(3)"


@pytest.mark.parametrize(
    ("size", "scheme", "direction"),
    [("desk", "light", "ltr"), ("phone", "dark", "rtl")],
)
def test_every_step_is_for_everybody(
    chromium: Any, connect: ConnectStage, size: str, scheme: str, direction: str
) -> None:
    found: list[Any] = []

    def look(name: str) -> None:
        found.extend(violations(page, name))
        if SHOTS:
            where = Path(SHOTS) / f"{name}-{size}-{scheme}-{direction}.png"
            page.screenshot(path=where, full_page=True)

    def begin(system: str = "") -> Any:
        page.goto("about:blank")
        link = connect.hosted(connect.session(system))
        page.goto(link.replace("#", f"?dir={direction}#"))

    page = opened(chromium, "about:blank", size, color_scheme=scheme)
    begin()
    button(page, "Shopify").wait_for()
    look("choose")
    page.get_by_label("Search").fill("nothing of the kind")
    page.get_by_text("Nothing is called").first.wait_for()
    page.get_by_label("Search").fill("git")
    page.get_by_text("2 found").first.wait_for()
    look("searched")
    button(page, "GitHub").click()
    heading(page, "Your GitHub account")
    look("details")
    button(page, "Check and continue").click()
    page.get_by_text("Please look at this again").wait_for()
    look("mistakes")
    connect.service.hold = {"credentials"}
    fill(page, "scope-is-missing")
    page.locator("li.is-running").wait_for()
    look("checking")
    connect.service.hold.clear()
    heading(page, "This did not work yet")
    look("failed")
    button(page, "Try again").click()
    heading(page, "A first event from GitHub")
    look("test")
    connect.service.hold = {"arrived"}
    button(page, "Send a test event").click()
    page.locator("li.is-running").wait_for()
    connect.service.hold.clear()
    heading(page, "GitHub is connected")
    page.get_by_text("Where the first event is").click()
    look("connected")

    begin("any-hmac")
    page.get_by_label("Name").fill("Billing")
    button(page, "Check and continue").click()
    button(page, "I have saved it").wait_for()
    button(page, "Show: Signing secret").click()
    page.get_by_text(SIGNING_SECRET).wait_for()
    look("register")
    button(page, "Stop connecting").click()
    look("asked")
    button(page, "Yes, stop").click()
    heading(page, "Stopped")
    look("cancelled")

    begin("shopify")
    page.get_by_label("Shop name").fill("my-shop")
    button(page, "Check and continue").click()
    heading(page, "Allow access in Shopify")
    look("authorise")
    with page.expect_popup() as opening:
        button(page, "Continue to Shopify").click()
    opening.value.locator("#no").click()
    page.get_by_text("You did not allow access").wait_for()
    look("denied")
    found += violations(opening.value, "callback")
    opening.value.close()

    expired = connect.session()
    connect.service.end(expired, "expired")
    page.goto("about:blank")
    page.goto(connect.hosted(expired))
    heading(page, "This page has expired")
    look("expired")
    page.goto("about:blank")
    page.goto(connect.console.url + "/connect/nothing")
    page.get_by_text("This link is not complete").wait_for()
    look("no-token")
    assert found == []
    assert [one for one in page.complaints if "401" not in one] == []
    page.context.close()


def test_the_whole_way_by_keyboard(chromium: Any, connect: ConnectStage) -> None:
    page = opened(chromium, connect.embedded(connect.session()))
    button(page, "GitHub").wait_for()
    focused = "(() => { let e = document.activeElement; while (e?.shadowRoot?.activeElement)"
    focused += " e = e.shadowRoot.activeElement; return e?.textContent || e?.id || '' })()"

    def tab_to(text: str, back: bool = False) -> None:
        for _ in range(20):
            if text in page.evaluate(focused):
                return
            page.keyboard.press("Shift+Tab" if back else "Tab")
        raise AssertionError(f"{text} is not reached; focus is on {page.evaluate(focused)!r}")

    def on(text: str) -> None:
        until(page, lambda: text in page.evaluate(focused), text)

    tab_to("search")
    page.keyboard.type("git")
    page.get_by_text("2 found").first.wait_for()
    page.keyboard.press("ArrowDown")
    on("GitHub")
    page.keyboard.press("Enter")
    on("Your GitHub account")
    tab_to("field-url")
    page.keyboard.type("github.com/acme")
    page.keyboard.press("Enter")
    on("Please look at this again")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    on("field-url")
    described = page.get_by_label("Repository").get_attribute("aria-describedby").split()
    assert page.get_by_label("Repository").get_attribute("aria-invalid") == "true"
    said = page.locator(f"#{described[-1]}").inner_text()
    assert said == "It must begin with https://."
    page.keyboard.press("Control+a")
    page.keyboard.type("https://github.com/acme/shop")
    assert page.get_by_label("Repository").get_attribute("aria-invalid") is None
    tab_to("field-token")
    page.keyboard.type("bad-token")
    page.keyboard.press("Enter")
    # What went wrong is where the focus is, and one Tab further what to do.
    on("GitHub did not accept the token.")
    status = page.locator(".for-reader[role=status]")
    until(page, lambda: "failed" in status.text_content(), "it is read out")
    tab_to("Change your details")
    page.keyboard.press("Enter")
    on("Your GitHub account")
    tab_to("field-url")
    page.keyboard.type("https://github.com/acme/shop")
    tab_to("field-token")
    page.keyboard.type("good-token")
    page.keyboard.press("Enter")
    on("A first event from GitHub")
    tab_to("Send a test event")
    page.keyboard.press("Enter")
    on("GitHub is connected")
    assert page.complaints == []
    page.context.close()


def test_nothing_of_a_secret_stays_in_the_page(chromium: Any, connect: ConnectStage) -> None:
    token = connect.session("github")
    page = opened(chromium, connect.embedded(token))
    assert page.evaluate("document.querySelector('hookline-connect').outerHTML").count(token) == 0
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    connect.service.hold = {"tls"}
    heading(page, "Your GitHub account")
    secret = page.get_by_label("Access token", exact=True)
    assert secret.get_attribute("type") == "password"
    assert secret.get_attribute("autocomplete") == "off"
    secret.fill(MARKED)
    button(page, "Show Access token").click()
    assert secret.get_attribute("type") == "text"
    page.get_by_label("Repository").fill("https://github.com/acme/nowhere")
    button(page, "Check and continue").click()
    # Also where the form comes back with a mistake.
    page.get_by_text("There is no such repository").first.wait_for()
    secret = page.get_by_label("Access token", exact=True)
    assert secret.input_value() == ""
    assert secret.get_attribute("type") == "password"
    page.get_by_text("Leave it empty to keep it").wait_for()
    # And at once, while the request is under way: it may never be answered.
    held: list[Any] = []
    page.route("**/connect/api/actions", lambda route: held.append(route))
    fill(page, MARKED)
    until(page, lambda: len(held) == 1, "the form is sent")
    assert secret.input_value() == ""
    held[0].continue_()
    page.locator("li.is-running").wait_for()
    everything = """() => {
      const texts = [location.href, document.cookie, JSON.stringify(history.state),
        JSON.stringify({...localStorage}), JSON.stringify({...sessionStorage})];
      const walk = (root) => {
        for (const node of root.querySelectorAll('*')) {
          texts.push(node.value ?? '', ...[...node.attributes].map((one) => one.value));
          if (node.shadowRoot) walk(node.shadowRoot);
        }
        texts.push(root.textContent ?? '', root.documentElement?.textContent ?? '');
      };
      walk(document);
      return texts.join('\\n');
    }"""
    assert MARKED not in page.evaluate(everything)
    assert "indexedDB" not in Path("console/static/hookline-connect.js").read_text()
    assert not [one for one in asked if MARKED in one or token in one]
    assert connect.service.kept[-1] == MARKED
    # The session's own token is no longer in the hosted page's address, also after it is loaded
    # again, and it goes on.
    page.goto(connect.hosted(token))
    page.locator("li.is-running").wait_for()
    assert token not in page.evaluate("location.href")
    page.reload()
    page.locator("li.is-running").wait_for()
    assert token not in page.evaluate("location.href")
    assert MARKED not in page.evaluate(everything)
    page.context.close()


def test_text_from_outside_is_text(chromium: Any, connect: ConnectStage) -> None:
    connect.service.evil = lambda text: text + EVIL
    page = opened(chromium, connect.embedded(connect.session("github")))
    page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
    root = "document.querySelector('hookline-connect').shadowRoot"
    seen: list[str] = []

    def look() -> None:
        seen.append(page.evaluate(f"{root}.textContent"))
        for tag in ("img", "script", "[style*=url]", "[onerror]"):
            assert page.evaluate(f"{root}.querySelectorAll('{tag}').length") == 0, tag
        for link in page.evaluate(f"[...{root}.querySelectorAll('a')].map((a) => a.href)"):
            assert link.startswith("https://"), link
        assert "\u202e" not in seen[-1]

    heading(page, "Your GitHub")
    look()
    fill(page, "x", "https://github.com/nowhere")
    page.get_by_text("There is no such repository").first.wait_for()
    look()
    fill(page, "bad-token")
    heading(page, "This did not work yet")
    look()
    button(page, "Change your details").click()
    fill(page, "good-token")
    heading(page, "A first event from")
    look()
    button(page, "Send a test event").click()
    heading(page, "GitHub")
    page.get_by_text("octocat").wait_for()
    look()
    assert "onerror=alert(1)" in "".join(seen)
    assert page.complaints == []
    page.context.close()


def test_links_that_are_none_are_not_made(chromium: Any, connect: ConnectStage) -> None:
    token = connect.session("github")
    page = opened(chromium, connect.embedded(token))
    heading(page, "Your GitHub account")
    form = connect.service.view_of(token).form
    assert form is not None
    guides = tuple(
        replace(form.guidance[1], link=link)
        for link in ("javascript:alert(1)", "data:text/html,x", " java\nscript:alert(1)", "//x")
    )
    changed = replace(form, guidance=guides, submit="Changed")
    connect.on_loop(lambda: connect.service.put(token, form=changed))
    button(page, "Changed").wait_for()
    assert page.get_by_role("link").count() == 0
    page.context.close()
