"""What customers do to a page: two tabs, two clicks, reload, the back button, no network for a
while, a link that has expired, is somebody else's, or was used before."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.connect_flow.customer import Customer, github, shopify, zendesk
from tests.connect_flow.stage import REPOSITORY, Stage, until
from tests.connect_flow.test_errors import begin, customer_secrets, fill, ready, right, stop
from tests.connect_flow.test_three_systems import connected
from tests.vendors.misbehaviour import SCRIPT
from tests.vendors.misbehaviour import Misbehaviour as Bad

HOOKS = "POST /repos/northwind/shop/hooks"


@pytest.fixture
def customer(chromium: Any) -> Iterator[Customer]:
    made = Customer(chromium)
    yield made
    made.close()


def other_tab(customer: Customer, url: str) -> Customer:
    """The same browser, another tab with the same link."""
    other = object.__new__(Customer)
    other.context, other.page = customer.context, customer.tab()
    other.clicks = other.fields = 0
    other.open(url)
    return other


def test_two_tabs_are_one_flow(stage: Stage, customer: Customer) -> None:
    connection = f"acme-{uuid4().hex[:8]}"
    link = stage.session(connection_id=connection)["url"]
    customer.open(link)
    customer.heading("What do you want to connect?")
    other = other_tab(customer, link)
    other.heading("What do you want to connect?")
    customer.press("GitHub Issues")
    # The other one follows by itself, and what is done there counts here.
    other.heading("Your GitHub account")
    other.press("Back")
    customer.heading("What do you want to connect?")
    customer.press("GitHub Issues")
    other.heading("Your GitHub account")
    for one in (customer, other):
        for label, text in right(stage, "github").items():
            one.write(label, text)
    before = stage.street.github.count(HOOKS)
    # Where the first one was quicker, there is no form any more in the second.
    submit = "document.querySelector('hookline-connect').shadowRoot.querySelector('form')"
    for one in (customer, other):
        one.page.evaluate(f"{submit}?.requestSubmit()")
    for one in (customer, other):
        one.heading("GitHub is connected")
        assert customer_secrets(one) == ""
    assert stage.street.github.count(HOOKS) == before + 1
    connected(stage, "github", connection)


def test_a_double_click_submits_once(stage: Stage, customer: Customer) -> None:
    connection = begin(stage, customer, "github")
    before = stage.street.github.count(HOOKS)
    for label, text in right(stage, "github").items():
        customer.write(label, text)
    customer.page.get_by_role("button", name="Continue").dblclick()
    customer.heading("GitHub is connected")
    assert stage.street.github.count(HOOKS) == before + 1
    connected(stage, "github", connection)


def test_of_two_requests_on_one_revision_one_counts(stage: Stage) -> None:
    connection = f"acme-{uuid4().hex[:8]}"
    made = stage.session(connection_id=connection, system="github")
    headers = {"authorization": f"Bearer {made['token']}"}
    url = f"{stage.console_url}/connect/api"
    view = httpx.get(f"{url}/state", headers=headers).json()
    values = {"repository": REPOSITORY, "token": stage.credentials["github"]}
    body = {"action": "details", "revision": view["revision"], "values": values}
    before = stage.street.github.count(HOOKS)
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda _: httpx.post(f"{url}/actions", json=body, headers=headers), range(6))
        )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 409, 409, 409, 409, 409]
    for answer in answers:
        assert stage.credentials["github"] not in answer.text
        if answer.status_code == 409:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] in ("stale", "busy")
            assert answer.json()["view"]["step"]
    until(lambda: httpx.get(f"{url}/state", headers=headers).json()["step"] == "connected")
    assert stage.street.github.count(HOOKS) == before + 1
    connected(stage, "github", connection)


def test_a_page_that_is_loaded_again_goes_on(stage: Stage, customer: Customer) -> None:
    connection = begin(stage, customer, "zendesk")
    fill(customer, right(stage, "zendesk") | {"API token": "0" * 40})
    customer.sees("Zendesk does not accept")
    customer.page.reload()
    customer.sees("Zendesk does not accept")
    customer.press("Change your details")
    customer.heading("Your Zendesk account")
    customer.page.reload()
    customer.heading("Your Zendesk account")
    customer.sees("Saved. Leave it empty to keep it.")
    assert customer_secrets(customer) == ""
    assert customer.page.get_by_label("Zendesk address").first.input_value() == "northwind"
    fill(customer, {"API token": stage.credentials["zendesk"]})
    customer.heading("A first event from Zendesk")
    customer.page.reload()
    customer.heading("A first event from Zendesk")
    assert len(stage.street.zendesk.present()) == 1
    stage.street.zendesk.make_ticket("northwind")
    customer.heading("Zendesk is connected")
    customer.page.reload()
    customer.heading("Zendesk is connected")
    connected(stage, "zendesk", connection)


def test_the_back_button_leaves_and_comes_back(stage: Stage, customer: Customer) -> None:
    connection = f"acme-{uuid4().hex[:8]}"
    made = stage.session(connection_id=connection, system="github")
    customer.page.goto(f"{stage.console_url}/livez")
    customer.page.goto(made["url"])
    customer.heading("Your GitHub account")
    customer.page.get_by_label("Repository").first.fill("northwind/other")
    assert made["token"] not in customer.page.url
    customer.page.go_back()
    customer.page.go_forward()
    customer.heading("Your GitHub account")
    assert made["token"] not in customer.page.url
    assert customer_secrets(customer) == ""
    stop(stage, customer, connection)


def test_no_network_for_a_while(stage: Stage, customer: Customer) -> None:
    connection = begin(stage, customer, "github")
    stage.street.github.misbehave(Bad.HANG, on="/repos")
    before = stage.street.github.count("GET /repos")
    fill(customer, right(stage, "github"))
    until(lambda: stage.street.github.count("GET /repos") > before)
    stage.network.cut()
    stage.street.behave()
    customer.sees("No connection at the moment")
    stage.network.mend()
    customer.page.get_by_text("No connection at the moment").first.wait_for(state="hidden")
    customer.sees("What to do:")
    customer.press("Try again")
    customer.heading("GitHub is connected")
    connected(stage, "github", connection)


def test_a_session_that_expires_leaves_nothing(stage: Stage, customer: Customer) -> None:
    connection = f"acme-{uuid4().hex[:8]}"
    made = stage.session(connection_id=connection, system="zendesk")
    customer.open(made["url"])
    customer.heading("Your Zendesk account")
    fill(customer, right(stage, "zendesk"))
    customer.heading("A first event from Zendesk")
    assert set(stage.left(connection)) == {"webhooks", "secrets", "records"}
    stage.expire(made["session"])
    # The page that stands open says so, and so does one that is opened now.
    customer.heading("This page has expired")
    other_tab(customer, made["url"]).heading("This page has expired")
    until(lambda: not stage.left(connection), 60)


def test_a_link_that_lets_nobody_in(stage: Stage, customer: Customer) -> None:
    made = stage.session(system="github")
    token = made["token"]
    customer.open(made["url"])
    customer.heading("Your GitHub account")
    page = f"{stage.console_url}/connect/{made['session']}"
    swapped = token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:]
    for bad, says in (
        ("", "This link is not complete"),
        ("nonsense", "This cannot be opened"),
        (swapped, "This cannot be opened"),
        (token.replace("hc_test_", "hc_live_"), "This cannot be opened"),
        (stage.token, "This cannot be opened"),
    ):
        customer.open(f"{page}#{bad}")
        customer.sees(says)
        assert bad == "" or bad not in customer.page.url
    # An API token opens no session, and a session's token no API.
    api = f"{stage.console_url}/api/v1/connections"
    assert httpx.get(api, headers={"authorization": f"Bearer {token}"}).status_code == 401
    state = f"{stage.console_url}/connect/api/state"
    for bad in (stage.token, swapped, "nonsense", ""):
        answer = httpx.get(state, headers={"authorization": f"Bearer {bad}"} if bad else {})
        # Whoever tries many is slowed down.
        assert answer.status_code in (401, 429)
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_session_of_one_tenant_for_another_s_connection(stage: Stage, customer: Customer) -> None:
    connection = begin(stage, customer, "github")
    fill(customer, right(stage, "github"))
    customer.heading("GitHub is connected")
    for tenant in ("globex", "acme"):
        body = {"tenant": tenant, "connection_id": connection, "system": "github"}
        refused = stage.api("POST", "/connect-sessions", body)
        assert refused.status_code == 409, refused.text
        assert refused.headers["content-type"] == "application/problem+json"
    connected(stage, "github", connection)


def test_a_link_that_was_used(stage: Stage, customer: Customer) -> None:
    connection = f"acme-{uuid4().hex[:8]}"
    link = stage.session(connection_id=connection, system="github")["url"]
    customer.open(link)
    fill(customer, right(stage, "github"))
    customer.heading("GitHub is connected")
    hooks = stage.street.github.count(HOOKS)
    other_tab(customer, link).heading("GitHub is connected")
    assert stage.street.github.count(HOOKS) == hooks
    connected(stage, "github", connection)
    link = stage.session(connection_id=connection, system="github")["url"]
    customer.open(link)
    customer.heading("Your GitHub account")
    stop(stage, customer, connection)
    again = other_tab(customer, link)
    again.sees("cancelled")


@pytest.mark.parametrize("system", ["github", "shopify", "zendesk"])
def test_markup_in_every_answer_stays_text(stage: Stage, customer: Customer, system: str) -> None:
    connection = f"acme-{uuid4().hex[:8]}"
    for vendor in stage.street.vendors:
        vendor.misbehave(Bad.SCRIPTED)
    customer.open(stage.session(connection_id=connection, label=f"Acme {SCRIPT}"[:200])["url"])
    {"github": github, "shopify": shopify, "zendesk": zendesk}[system](stage, customer)
    assert customer.page.evaluate("window.pwned") is None
    assert customer.page.locator("img[src=x]").count() == 0
    if system != "zendesk":
        customer.sees("<img src=x")
    assert customer.page.complaints == []
    stage.street.behave()
    connected(stage, system, connection)


def test_markup_in_every_field_stays_text(stage: Stage, customer: Customer) -> None:
    connection = f"acme-{uuid4().hex[:8]}"
    customer.open(stage.session(connection_id=connection)["url"])
    customer.heading("What do you want to connect?")
    customer.write("Search", SCRIPT)
    customer.sees("Nothing is called")
    for name, label in (("GitHub", "Repository"), ("Shopify", "Shop address")):
        customer.page.get_by_label("Search").fill(name)
        customer.press(f"{name} ")
        customer.heading(f"Your {name} account")
        for box in customer.page.locator("input:visible").all():
            box.fill(SCRIPT)
        customer.press("Continue")
        customer.sees("Please look at this again")
        # And past the page's own check.
        made = customer.page.locator("hookline-connect")
        told = made.evaluate(
            """(element, [label, text]) => fetch("/connect/api/actions", {method: "POST",
            headers: {authorization: `Bearer ${element.session}`,
            "content-type": "application/json"}, body: JSON.stringify({action: "details",
            revision: element.view.revision, values: Object.fromEntries(
            element.view.form.fields.map((field) => [field.id, text]))})}).then((a) => a.json())""",
            [label, SCRIPT],
        )
        assert all(field["mistake"] for field in told["form"]["fields"])
        customer.press("Back")
        customer.heading("What do you want to connect?")
    assert customer.page.evaluate("window.pwned") is None
    assert customer.page.complaints == []
    stop(stage, customer, connection)


def test_what_is_typed_while_things_are_taken_away_stays(stage: Stage, customer: Customer) -> None:
    """The form is drawn anew when that is done: around what somebody has typed by then."""
    connection = begin(stage, customer, "zendesk")
    fill(customer, right(stage, "zendesk"))
    customer.heading("A first event from Zendesk")
    with stage.street.zendesk.misbehaving(Bad.SLOW, "DELETE"):
        customer.press("Change your details")
        customer.heading("Your Zendesk account")
        customer.write("Zendesk address", "northwnid")
        customer.write("API token", "0" * 40)
        until(lambda: stage.street.zendesk.count("DELETE") > 0)
    ready(customer)
    customer.press("Continue")
    customer.sees("There is no Zendesk at this address")
    stop(stage, customer, connection)
