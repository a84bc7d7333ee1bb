"""OAuth's way back in a real Chromium: what came back counts only for the window of the session's
own customer, by itself or by a code that he types; a link handed to somebody else gives nothing."""

from __future__ import annotations

from typing import Any

from tests.connect_page.browsing import button, heading, opened, violations
from tests.connect_page.stage import ConnectStage


def asked(chromium: Any, connect: ConnectStage, **more: Any) -> tuple[Any, str]:
    """A customer who was asked for consent in a window that he closed; and its address."""
    connect.service.acted.clear()
    page = opened(chromium, connect.embedded(connect.session("shopify", **more)))
    page.get_by_label("Shop name").fill("my-shop")
    button(page, "Check and continue").click()
    with page.expect_popup() as opening:
        button(page, "Continue to Shopify").click()
    popup = opening.value
    popup.locator("#yes").wait_for()
    address = popup.url
    popup.close()
    return page, address


def confirmed(connect: ConnectStage) -> int:
    return [action.kind for action in connect.service.acted].count("confirm")


def test_a_link_that_an_attacker_hands_on_connects_nothing(
    chromium: Any, connect: ConnectStage
) -> None:
    attacker, link = asked(chromium, connect, origin=connect.outside.url)
    # The victim is on a page of the attacker's, which opens the link and listens.
    evil = connect.outside.url.replace("localhost", "127.0.0.1")
    victim = opened(chromium, f"{evil}/style.css")
    victim.evaluate("() => { window.heard = []; onmessage = (e) => heard.push(e.data); }")
    with victim.expect_popup() as opening:
        victim.evaluate("(link) => { window.popup = open(link); }", link)
    came = opening.value
    came.locator("#yes").click()
    came.get_by_role("heading", name="Shopify has said yes").wait_for()
    assert came.evaluate("window.opener !== null")
    # Nobody has answered, so the code is shown, to be typed where this victim began: nowhere.
    code = came.locator("#code")
    code.wait_for()
    assert victim.evaluate("heard") == []
    assert confirmed(connect) == 0
    # And the attacker is asked for what he has not got.
    attacker.get_by_label("Code from the last window").fill("BBBB-BBBB")
    button(attacker, "Confirm").click()
    attacker.get_by_text("This is not the code that was shown").wait_for()
    assert attacker.get_by_role("heading", level=2, name="Allow access in Shopify").is_visible()
    for page in (attacker, victim):
        page.context.close()


def test_where_the_window_is_gone_its_code_is_typed(chromium: Any, connect: ConnectStage) -> None:
    page, link = asked(chromium, connect)
    elsewhere = opened(chromium, link)
    elsewhere.locator("#yes").click()
    code = elsewhere.locator("#code").inner_text()
    assert len(code) == 9
    assert violations(elsewhere, "way back") == []
    assert "code=" not in elsewhere.url
    field = page.get_by_label("Code from the last window")
    field.fill("BBB")
    button(page, "Confirm").click()
    page.get_by_text("Type the 8 letters and digits").wait_for()
    assert field.evaluate("node => node.matches(':focus')")
    assert confirmed(connect) == 0
    field.fill("BBBB-BBBB")
    button(page, "Confirm").click()
    page.get_by_text("This is not the code that was shown").wait_for()
    assert violations(page, "typing") == []
    field.fill(f" {code.lower()} ")
    page.keyboard.press("Enter")
    heading(page, "A first event from Shopify")
    assert page.complaints == []
    for one in (page, elsewhere):
        one.context.close()


def test_a_proof_from_another_origin_is_not_passed_on(chromium: Any, connect: ConnectStage) -> None:
    page, _ = asked(chromium, connect)
    page.evaluate("postMessage({ type: 'hookline-proof', proof: 'A'.repeat(64) }, '*')")
    page.wait_for_timeout(300)
    assert confirmed(connect) == 0
    page.context.close()
