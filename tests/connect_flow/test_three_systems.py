"""GitHub, Shopify with its consent, and Zendesk, from the choice to the first event on Kafka: clean
for axe-core at each step, in light and dark, at a desk and on a phone, and by keyboard alone.

With HOOKLINE_SCREENSHOTS=1 each step is saved to docs/screenshots: with HOOKLINE_CONNECT_WHOLE=1.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.connect_flow.customer import ByKeyboard, Customer, github, shopify, zendesk
from tests.connect_flow.stage import Stage, until
from tests.connect_flow.test_errors import WHOLE, begin, fill, right, stop
from tests.connect_page.browsing import violations
from tests.parts.browser import packed
from tests.vendors.misbehaviour import Misbehaviour

SCREENSHOTS = Path(__file__).parents[2] / "docs" / "screenshots"
MAX_BYTES = 150_000
WAYS = {"github": github, "shopify": shopify, "zendesk": zendesk}
FACES = [("desk", "light"), ("desk", "dark"), ("phone", "light")]
#: In a run of all tests, each system with one face; with HOOKLINE_CONNECT_WHOLE=1 all.
LOOKED_AT = [
    (system, *face)
    for number, system in enumerate(WAYS)
    for face in (FACES if WHOLE else FACES[number : number + 1])
]
#: Of each step one picture.
KEPT = {
    "github-choose", "github-details", "shopify-authorise", "shopify-consent", "github-checking",
    "github-failed", "github-register", "any-hmac-webhooks-manual", "zendesk-test",
    "github-connected",
}  # fmt: skip


class Looking:
    """Looks at each step: axe-core, nothing beside the page, and a picture if it is wanted."""

    def __init__(self, customer: Customer, system: str, face: str) -> None:
        self._customer, self._system, self._face = customer, system, face
        self.found: list[Any] = []
        self.seen: list[str] = []

    def __call__(self, name: str, page: Any = None) -> None:
        self.seen.append(name)
        self.found += violations(page or self._customer.page, f"{self._system} {name}")
        # The vendor's own page looks the same to everybody.
        first = name != "consent" or self._face == "desk-light"
        if os.environ.get("HOOKLINE_SCREENSHOTS") and f"{self._system}-{name}" in KEPT and first:
            keep(page or self._customer.page, f"{name}-{self._face}")


def keep(page: Any, name: str) -> None:
    """A picture of what is on the page."""
    SCREENSHOTS.mkdir(exist_ok=True)
    target = SCREENSHOTS / f"connect-{name}.png"
    page.mouse.move(0, 0)
    # The list of systems is long: its beginning shows what it is.
    target.write_bytes(packed(page.screenshot(full_page="choose" not in name)))
    assert target.stat().st_size < MAX_BYTES, target


@pytest.mark.parametrize(("system", "size", "scheme"), LOOKED_AT)
def test_each_is_connected_and_each_step_is_for_everybody(
    stage: Stage, chromium: Any, system: str, size: str, scheme: str
) -> None:
    customer = Customer(chromium, size=size, scheme=scheme)
    look = Looking(customer, system, f"{size}-{scheme}")
    connection = f"acme-{system}-{size}-{scheme}"
    customer.open(stage.session(connection_id=connection)["url"])
    WAYS[system](stage, customer, look)
    assert look.found == []
    assert {"details", "connected"} <= set(look.seen)
    assert customer.page.complaints == []
    customer.close()
    connected(stage, system, connection)


def connected(stage: Stage, system: str, connection: str) -> None:
    """What is there afterwards is all that there is to be."""
    assert stage.events(connection) >= 1
    assert f"test/{connection}" in stage.records("connections")
    assert f"test/{connection}/access" in stage.records("connections")
    shown = stage.api("GET", f"/connections/{connection}").json()
    assert (shown["state"], shown["system"]) == ("active", system)
    secrets = {name.rpartition("/")[2].partition(".")[0] for name in stage.secrets(connection)}
    assert secrets, "its credentials are sealed"
    gone = stage.api("DELETE", f"/connections/{connection}")
    assert gone.json() == {"removed": True, "left_over": []}, gone.text
    until(lambda: not stage.left(connection))


@pytest.mark.parametrize(("size", "scheme"), FACES if WHOLE else FACES[2:])
def test_what_passes_by_quickly_is_for_everybody(
    stage: Stage, chromium: Any, size: str, scheme: str
) -> None:
    """The checks while they run, what fails, the registration, and what is done by hand."""
    customer = Customer(chromium, size=size, scheme=scheme)
    look = Looking(customer, "github", f"{size}-{scheme}")
    vendor, hooks = stage.street.github, "POST /repos/northwind/shop/hooks"
    connection = begin(stage, customer, "github")
    with vendor.misbehaving(Misbehaviour.HANG, "GET /repos"):
        fill(customer, right(stage, "github"))
        customer.page.locator("li.is-running").wait_for()
        look("checking")
    customer.sees("What to do:")
    customer.press("Change your details")
    fill(customer, {"Access token": "ghp_" + "0" * 36})
    customer.sees("GitHub does not know this token")
    look("failed")
    customer.press("Change your details")
    vendor.misbehave(Misbehaviour.HANG, hooks)
    before = vendor.count(hooks)
    fill(customer, {"Access token": stage.credentials["github"]})
    until(lambda: vendor.count(hooks) > before)
    customer.heading("Setting up GitHub")
    look("register")
    stage.street.behave()
    customer.sees("What to do:")
    stop(stage, customer, connection)
    look("stopped")
    by_hand = Looking(customer, "any-hmac-webhooks", f"{size}-{scheme}")
    connection = begin(stage, customer, "any-hmac-webhooks")
    customer.press("Continue")
    customer.page.get_by_role("button", name="I have done this").wait_for()
    by_hand("manual")
    stop(stage, customer, connection)
    assert look.found + by_hand.found == []
    assert customer.page.complaints == []
    customer.close()


@pytest.mark.parametrize("system", list(WAYS))
def test_all_of_it_by_keyboard_alone(stage: Stage, chromium: Any, system: str) -> None:
    customer = ByKeyboard(chromium)
    connection = f"acme-{system}-keyboard"
    customer.open(stage.session(connection_id=connection)["url"])
    way: Callable[..., None] = WAYS[system]
    way(stage, customer)
    assert customer.page.complaints == []
    customer.close()
    connected(stage, system, connection)
