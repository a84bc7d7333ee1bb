"""Each thing that goes wrong is told in the customer's words, and nothing half-made is left: no
webhook at the vendor, no sealed secret, no record. The pages show no secret meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from tests.connect_flow.customer import Customer
from tests.connect_flow.stage import DESK, EMAIL, REPOSITORY, SHOP, Stage, until
from tests.vendors.misbehaviour import Misbehaviour as Bad
from tests.vendors.serving import Vendor


class Case(NamedTuple):
    """What goes wrong at a system, and what is said. `fields` differ from the right ones."""

    name: str
    system: str
    says: str
    how: Bad | None = None
    on: str = ""
    fields: Mapping[str, str] = MappingProxyType({})
    #: Whether it goes well once the cause is gone, and the customer tries again.
    mended: bool = False


#: All of them take longer than a run of all tests should: HOOKLINE_CONNECT_WHOLE=1.
WHOLE = bool(os.environ.get("HOOKLINE_CONNECT_WHOLE"))
MOST = 5 if WHOLE else 2
HOOKS = "POST /repos/northwind/shop/hooks"
FEW = {"Access token": "ghp_few" + "f" * 30}
READ_ONLY = {"Access token": "github_pat_" + "r" * 40}
ADDRESS = {"Address of the API": "https://nowhere.northwind.example/v1"}
INSIDE = {"Address of the API": "https://169.254.169.254/v1"}
CASES = [
    Case("dns", "any-rest-api", "There is no server called nowhere.northwind.example",
         fields=ADDRESS),
    Case("inside", "any-rest-api", "We do not open the address 169.254.169.254", fields=INSIDE),
    Case("certificate", "github", "We cannot be sure that api.github.com is what it says",
         Bad.WRONG_CERTIFICATE),
    Case("timeout", "github", "api.github.com did not answer in time", Bad.HANG, mended=True),
    Case("401", "github", "GitHub does not know this token",
         fields={"Access token": "ghp_" + "0" * 36}),
    Case("403 scope", "github", "lack permission: admin:repo_hook or write:repo_hook or repo",
         fields=FEW),
    Case("404", "github", "GitHub finds no such repository for this token",
         fields={"Repository": "northwind/other"}),
    Case("rate limit", "github", "GitHub answers no more requests of this account", Bad.LIMITED,
         mended=True),
    Case("clock", "github", "The clock of GitHub is 20 min behind ours", Bad.SKEWED, mended=True),
    Case("html", "github", "What answers at this address is not GitHub", Bad.HTML),
    Case("500", "github", "GitHub has a problem of its own at the moment", Bad.FAILING,
         mended=True),
    Case("huge", "github", "The answer of api.github.com is far larger", Bad.HUGE),
    Case("endless", "github", "The answer of api.github.com is far larger", Bad.ENDLESS),
    Case("redirect inside", "github", "We do not open the address", Bad.REDIRECT),
    Case("drop", "github", "api.github.com ended the connection before it had answered", Bad.DROP,
         mended=True),
    Case("hook 403", "github", "not change its webhooks", fields=READ_ONLY),
    Case("hook drop", "github", "api.github.com ended the connection", Bad.DROP, HOOKS,
         mended=True),
    Case("hook 500", "github", "GitHub has a problem of its own", Bad.FAILING, HOOKS, mended=True),
    Case("zendesk 401", "zendesk", "Zendesk does not accept this e-mail address and token",
         fields={"API token": "0" * 40}),
    Case("zendesk 403", "zendesk", "does not let you manage webhooks",
         fields={"E-mail of an administrator": "ben@northwind.example", "API token": "b" * 40}),
    Case("zendesk 404", "zendesk", "There is no Zendesk at this address",
         fields={"Zendesk address": "northwnid"}),
    Case("zendesk limit", "zendesk", "Zendesk answers no more requests for now", Bad.LIMITED,
         mended=True),
    Case("zendesk secret", "zendesk", "Zendesk has a problem of its own", Bad.FAILING,
         "/signing_secret", mended=True),
]  # fmt: skip


def right(stage: Stage, system: str) -> dict[str, str]:
    """What the customer would have to enter."""
    found: dict[str, dict[str, str]] = {
        "github": {"Repository": REPOSITORY, "Access token": stage.credentials["github"]},
        "zendesk": {"Zendesk address": DESK, "E-mail of an administrator": EMAIL,
                    "API token": stage.credentials["zendesk"]},
        "shopify": {"Shop address": SHOP},
        "any-rest-api": {"API token": "marked-token-of-any-api"},
    }  # fmt: skip
    return found[system]


def begin(stage: Stage, customer: Customer, system: str) -> str:
    """A session for one system; the connection's name."""
    connection = f"acme-{uuid4().hex[:8]}"
    customer.open(stage.session(connection_id=connection, system=system)["url"])
    customer.page.get_by_role("button", name="Continue").first.wait_for()
    return connection


def ready(customer: Customer) -> None:
    """Wait until the form may be sent: what was made before is taken away."""
    customer.page.wait_for_function(
        """() => { const view = document.querySelector("hookline-connect").view;
        return view && !view.busy && view.actions.includes("details"); }"""
    )


def fill(customer: Customer, values: dict[str, str]) -> None:
    """The form, up to its button."""
    ready(customer)
    for label, text in values.items():
        customer.write(label, text)
    customer.press("Continue")


def cancel(customer: Customer) -> None:
    """The customer gives up."""
    # Nothing is under way: what changes in the same instant is told, and asked again.
    customer.page.wait_for_function(
        "() => !document.querySelector('hookline-connect').view.busy?.replace('waiting', '')"
    )
    customer.press("Stop connecting")
    customer.press("Yes, stop")
    customer.heading("Stopped")


def stop(stage: Stage, customer: Customer, connection: str) -> None:
    """The customer gives up: nothing is left."""
    cancel(customer)
    until(lambda: not stage.left(connection))


def tells(customer: Customer, case: Case) -> None:
    """What is said, with what to do; nothing of what was entered or answered."""
    customer.sees(case.says)
    problem = customer.page.locator(".problem:visible").first
    assert "What to do:" in problem.inner_text()
    shown = customer.text()
    for secret in (*case.fields.values(), customer_secrets(customer)):
        if len(secret) > 30 and secret.isascii() and "//" not in secret:
            assert secret not in shown


def customer_secrets(customer: Customer) -> str:
    """Of an open page: what its secret fields hold, which is nothing after it was sent."""
    found = customer.page.locator("input[type=password]").evaluate_all(
        "all => all.map(one => one.value).join('')"
    )
    assert found == ""
    return str(found)


def vendor_of(stage: Stage, system: str) -> Vendor | None:
    return next((one for one in stage.street.vendors if one.system == system), None)


@pytest.fixture
def customer(chromium: Any) -> Iterator[Customer]:
    made = Customer(chromium)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_told_and_nothing_is_left(stage: Stage, customer: Customer, case: Case) -> None:
    vendor = vendor_of(stage, case.system)
    if case.how is not None and vendor is not None:
        vendor.misbehave(case.how, case.on)
    connection = begin(stage, customer, case.system)
    fill(customer, {**right(stage, case.system), **case.fields})
    tells(customer, case)
    assert stage.events(connection) == 0
    if case.mended:
        stage.street.behave()
        customer.press("Try again")
        if case.system == "zendesk":
            customer.heading("A first event from Zendesk")
            stage.street.zendesk.make_ticket(DESK)
            customer.heading("Zendesk is connected")
            # One, however often it was tried.
            until(lambda: len(stage.street.zendesk.present()) == 1)
            assert stage.api("DELETE", f"/connections/{connection}").json()["left_over"] == []
        else:
            customer.heading("GitHub is connected")
            assert len(stage.street.github.present()) == 1
            assert stage.api("DELETE", f"/connections/{connection}").json()["left_over"] == []
    else:
        stop(stage, customer, connection)
    assert stage.left(connection) == {}
    assert customer.page.complaints == []


def test_a_webhook_whose_answer_was_lost_is_taken_away(stage: Stage, customer: Customer) -> None:
    """The vendor made it, and the network dropped before the answer."""
    connection = begin(stage, customer, "github")
    stage.street.github.misbehave(Bad.DROP_AFTER, HOOKS)
    fill(customer, right(stage, "github"))
    customer.sees("api.github.com ended the connection")
    assert len(stage.street.github.present()) == 1
    cancel(customer)
    until(lambda: not stage.left(connection), 6)


def test_a_retry_after_that_makes_no_second_one(stage: Stage, customer: Customer) -> None:
    connection = begin(stage, customer, "github")
    with stage.street.github.misbehaving(Bad.DROP_AFTER, HOOKS):
        fill(customer, right(stage, "github"))
        customer.sees("api.github.com ended the connection")
    customer.press("Try again")
    customer.page.get_by_role("heading", level=2, name="GitHub is connected").wait_for(
        timeout=5_000
    )
    assert len(stage.street.github.present()) == 1
    stage.api("DELETE", f"/connections/{connection}")
    assert stage.left(connection) == {}


def test_a_webhook_is_taken_away_where_it_was_made(stage: Stage, customer: Customer) -> None:
    """It cannot be for the moment; then the customer enters another address."""
    connection = begin(stage, customer, "zendesk")
    fill(customer, right(stage, "zendesk"))
    customer.heading("A first event from Zendesk")
    stage.street.zendesk.misbehave(Bad.DROP, "DELETE")
    customer.press("Change your details")
    customer.heading("Your Zendesk account")
    other = right(stage, "zendesk") | {"Zendesk address": "northwnid"}
    # What it was made with is what takes it away: it stays until that is done.
    fill(customer, other)
    customer.sees("still being taken away")
    assert len(stage.street.zendesk.present()) == 1
    stage.street.behave()
    until(lambda: not stage.street.zendesk.present(), 40)
    fill(customer, other)
    customer.sees("There is no Zendesk at this address")
    cancel(customer)
    until(lambda: not stage.left(connection), 8)


# OAuth.


def consent(customer: Customer) -> Any:
    """Up to the window of Shopify."""
    customer.heading("Allow access in Shopify")
    window = customer.popup("Continue to Shopify")
    window.locator("#install").wait_for()
    return window


def test_a_denied_consent(stage: Stage, customer: Customer) -> None:
    connection = begin(stage, customer, "shopify")
    fill(customer, right(stage, "shopify"))
    window = consent(customer)
    window.locator("#cancel").click()
    window.get_by_text("Access was not given").wait_for()
    customer.sees("Access to Shopify was not allowed")
    window.close()
    window = consent(customer)
    window.locator("#install").click()
    customer.heading("A first event from Shopify")
    stop(stage, customer, connection)


def test_a_state_that_is_not_ours(stage: Stage, customer: Customer) -> None:
    """Somebody leads the customer's browser back with a code of his own."""
    connection = begin(stage, customer, "shopify")
    fill(customer, right(stage, "shopify"))
    window = consent(customer)
    other = customer.tab()
    for query in ("state=forged&code=1", "code=1", "state=&code=", "state=%00&error=%3Cscript%3E"):
        answer = other.goto(f"{stage.console_url}/connect/callback?{query}")
        assert answer.status == 400
        other.get_by_text("This answer was used before").wait_for()
        assert "code=" not in other.url
    assert stage.street.shopify.count("access_token") == 0 or not stage.street.shopify.present()
    # And the customer's own goes on as if nothing had been.
    window.locator("#install").click()
    customer.heading("A first event from Shopify")
    stop(stage, customer, connection)


def test_a_code_that_is_used_twice(stage: Stage, customer: Customer) -> None:
    connection = begin(stage, customer, "shopify")
    fill(customer, right(stage, "shopify"))
    window = consent(customer)
    backs: list[str] = []
    window.on("request", lambda asked: backs.append(asked.url) if "callback?" in asked.url else 0)
    before = stage.street.shopify.count("access_token")
    window.locator("#install").click()
    customer.heading("A first event from Shopify")
    other = customer.tab()
    assert other.goto(backs[0]).status == 400
    other.get_by_text("This answer was used before").wait_for()
    assert stage.street.shopify.count("access_token") == before + 1
    stop(stage, customer, connection)


def test_a_code_that_shopify_does_not_take(stage: Stage, customer: Customer) -> None:
    connection = begin(stage, customer, "shopify")
    fill(customer, right(stage, "shopify"))
    window = consent(customer)
    stage.street.shopify.spent = True
    window.locator("#install").click()
    try:
        customer.sees("Shopify did not accept the permission that it had given")
    finally:
        stage.street.shopify.spent = False
    window.close()
    consent(customer).locator("#install").click()
    customer.heading("A first event from Shopify")
    stop(stage, customer, connection)


@pytest.mark.parametrize("how", [Bad.HTML, Bad.HUGE, Bad.DROP, Bad.FAILING, Bad.HANG][:MOST])
def test_a_token_endpoint_that_fails(stage: Stage, customer: Customer, how: Bad) -> None:
    connection = begin(stage, customer, "shopify")
    fill(customer, right(stage, "shopify"))
    window = consent(customer)
    stage.street.shopify.misbehave(how, "access_token")
    window.locator("#install").click()
    customer.page.locator(".problem:visible").first.wait_for()
    stage.street.behave()
    assert "What to do:" in customer.page.locator(".problem:visible").first.inner_text()
    window.close()
    consent(customer).locator("#install").click()
    customer.heading("A first event from Shopify")
    stop(stage, customer, connection)


def test_fewer_permissions_than_are_needed(stage: Stage, customer: Customer) -> None:
    stage.street.shopify.withheld = frozenset({"read_orders"})
    try:
        connection = begin(stage, customer, "shopify")
        fill(customer, right(stage, "shopify"))
        consent(customer).locator("#install").click()
        customer.sees("lack permission: read_orders")
    finally:
        stage.street.shopify.withheld = frozenset()
    stop(stage, customer, connection)


def test_a_shop_that_there_is_not(stage: Stage, customer: Customer) -> None:
    connection = begin(stage, customer, "shopify")
    fill(customer, {"Shop address": "northwind-tee"})
    customer.heading("Allow access in Shopify")
    window = customer.popup("Continue to Shopify")
    window.get_by_text("this shop is currently unavailable").wait_for()
    window.close()
    customer.press("Back")
    fill(customer, right(stage, "shopify"))
    consent(customer).locator("#install").click()
    customer.heading("A first event from Shopify")
    stop(stage, customer, connection)
