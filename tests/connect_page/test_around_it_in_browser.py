"""What happens around the component in a real Chromium: windows of other systems, two tabs, a
dropped network, double clicks; and what the page that embeds it hears and changes."""

from __future__ import annotations

from typing import Any

import msgspec

from producer.connect.flow.state import Check, CheckState, Explanation
from producer.connect.service import FlowRefused
from tests.connect_page.browsing import button, fill, heading, opened, until
from tests.connect_page.script import ARRIVED
from tests.connect_page.stage import ConnectStage


def test_oauth_in_a_window_of_its_own_that_closes_itself(
    chromium: Any, connect: ConnectStage
) -> None:
    page = opened(chromium, connect.embedded(connect.session("shopify")))
    page.get_by_label("Shop name").fill("my-shop")
    button(page, "Check and continue").click()
    with page.expect_popup() as opening:
        button(page, "Continue to Shopify").click()
    popup = opening.value
    popup.locator("#yes").wait_for()
    page.get_by_text("Waiting for you to come back").first.wait_for()
    link = page.get_by_role("link", name="No window? Open Shopify here")
    assert link.get_attribute("href") == popup.url
    assert link.get_attribute("rel") == "opener"
    with popup.expect_event("close"):
        popup.locator("#yes").click()
    assert [action.kind for action in connect.service.acted][-1] == "confirm"
    heading(page, "A first event from Shopify")
    assert page.complaints == []
    page.context.close()


def test_a_window_that_is_blocked_has_a_link_beside_it(
    chromium: Any, connect: ConnectStage
) -> None:
    page = opened(chromium, connect.embedded(connect.session("shopify")))
    page.evaluate("window.open = () => null")
    page.get_by_label("Shop name").fill("my-shop")
    button(page, "Check and continue").click()
    button(page, "Continue to Shopify").click()
    with page.expect_popup() as opening:
        page.get_by_role("link", name="No window? Open Shopify here").click()
    opening.value.locator("#yes").click()
    heading(page, "A first event from Shopify")
    page.context.close()


def test_two_tabs_are_one_flow(chromium: Any, connect: ConnectStage) -> None:
    token = connect.session()
    one = opened(chromium, connect.embedded(token))
    two = one.context.new_page()
    two.set_default_timeout(15_000)
    two.goto(connect.hosted(token))
    button(one, "GitHub").click()
    heading(two, "Your GitHub account")
    # It follows, and takes nobody's focus.
    assert two.evaluate("document.activeElement === document.body")
    connect.service.refuse = [
        FlowRefused("stale", "…", connect.service.view_of(token)),
    ]
    fill(two, "good-token")
    two.get_by_text("This was changed in another window").wait_for()
    fill(two, "good-token")
    heading(one, "A first event from GitHub")
    button(one, "Send a test event").click()
    heading(two, "GitHub is connected")
    one.context.close()


def test_a_dropped_network_is_said_and_gets_over(chromium: Any, connect: ConnectStage) -> None:
    page = opened(chromium, "about:blank")
    away = page.get_by_text("No connection at the moment")
    broken = ["state", "changes"]
    answered: list[str] = []

    def drop(route: Any) -> None:
        path = route.request.url.rpartition("/")[2]
        if path == "actions" and not answered:
            # This one is taken, and its answer is lost; so it is sent again.
            answered.append(route.fetch().text())
            broken.append("actions")
        if path in broken:
            route.abort()
        else:
            route.continue_()

    page.route("**/connect/api/**", drop)
    page.goto(connect.embedded(connect.session("github")))
    away.wait_for()
    broken.clear()
    heading(page, "Your GitHub account")
    away.wait_for(state="hidden")
    connect.service.hold = {"dns"}
    fill(page, "good-token")
    away.wait_for()
    broken.clear()
    page.locator("li.is-running").wait_for()
    away.wait_for(state="hidden")
    assert page.get_by_text("changed in another window").count() == 0
    connect.service.hold.clear()
    heading(page, "A first event from GitHub")
    page.context.close()


def test_a_double_click_is_one_action(chromium: Any, connect: ConnectStage) -> None:
    page = opened(chromium, connect.embedded(connect.session("github")))
    heading(page, "Your GitHub account")
    before = len(connect.service.acted)
    page.get_by_label("Repository").fill("https://github.com/acme/shop")
    page.get_by_label("Access token", exact=True).fill("good-token")
    button(page, "Check and continue").dblclick()
    heading(page, "A first event from GitHub")
    assert len(connect.service.acted) == before + 1
    page.context.close()


def test_the_page_around_it_hears_of_it(chromium: Any, connect: ConnectStage) -> None:
    page = opened(chromium, connect.embedded(""))
    page.evaluate("""() => { window.heard = [];
      const element = document.querySelector('hookline-connect');
      for (const name of ['step', 'connected', 'error', 'close'])
        element.addEventListener(name, (event) => heard.push([name, event.detail])); }""")
    put = "(token) => { document.querySelector('hookline-connect').session = token; }"
    page.evaluate(put, connect.session("github"))
    fill(page, "good-token")
    button(page, "Send a test event").click()
    button(page, "Done").click()
    heard = page.evaluate("heard")
    steps = [detail["step"] for name, detail in heard if name == "step"]
    assert steps[0] == "details"
    assert steps[-1] == "connected"
    told = {name: detail for name, detail in heard if name != "step"}
    assert told["connected"] == {
        "connection": "acme-github", "system": "github", "account": "octocat",
    }  # fmt: skip
    assert told["close"] == {"reason": "done"}
    assert ARRIVED.rpartition("/")[2] in page.locator("dl").text_content()
    ended = connect.session()
    connect.service.end(ended, "ended")
    page.evaluate(put, ended)
    heading(page, "This cannot be opened")
    assert page.evaluate("heard.at(-1)")[1]["code"] == "ended"
    page.context.close()


def test_texts_and_colours_are_the_page_s_own(chromium: Any, connect: ConnectStage) -> None:
    page = opened(chromium, connect.embedded(connect.session()))
    page.evaluate("""() => {
      const element = document.querySelector('hookline-connect');
      element.strings = { chooseTitle: 'Was möchten Sie verbinden?' };
      element.style.setProperty('--hookline-ground', 'rgb(1, 2, 3)'); }""")
    heading(page, "Was möchten Sie verbinden?")
    ground = page.locator(".frame").evaluate("(e) => getComputedStyle(e).backgroundColor")
    assert ground == "rgb(1, 2, 3)"
    page.context.close()


def test_twice_the_text_size_fits(chromium: Any, connect: ConnectStage) -> None:
    page = opened(chromium, connect.hosted(connect.session("github")), "phone")
    page.evaluate("document.documentElement.style.setProperty('font-size', '200%')")
    heading(page, "Your GitHub account")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.context.close()


def test_the_hosted_page_is_framed_by_the_list_alone(chromium: Any, connect: ConnectStage) -> None:
    page = opened(chromium, connect.outside.url + "/frame")
    page.frame_locator("iframe").get_by_text("This link is not complete").wait_for()
    page.goto(connect.outside.url.replace("localhost", "127.0.0.1") + "/frame")
    page.wait_for_timeout(200)
    assert any("frame-ancestors" in one for one in page.complaints)
    page.context.close()


def test_a_wrong_signature_is_told_beside_the_check_that_goes_on(
    chromium: Any, connect: ConnectStage
) -> None:
    token = connect.session("github")
    page = opened(chromium, connect.embedded(token))
    fill(page, "good-token")
    heading(page, "A first event from GitHub")
    told = Explanation(
        code="signature_wrong", what="An event came, but its signature does not fit.",
        why="It may be cut off.", next="Copy the signing secret again.",
    )  # fmt: skip
    check = Check(id="arrived", title="An event has arrived", state=CheckState.RUNNING)
    for explanation in (None, told):
        one = msgspec.structs.replace(check, explanation=explanation)
        connect.on_loop(lambda one=one: connect.service.put(token, checks=(one,)))
    page.locator("li.is-running").get_by_text("Copy the signing secret again.").wait_for()
    live = page.locator(".for-reader[role=status]")
    until(page, lambda: "its signature does not fit" in live.text_content(), "read out")
    page.context.close()
