"""GitHub, Shopify with its consent, and Zendesk, from the choice to the first event on Kafka: clean
for axe-core at each step, in light and dark, at a desk and on a phone, and by keyboard alone.

With HOOKLINE_SCREENSHOTS=1 each step is saved to docs/screenshots.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.connect_flow.customer import ByKeyboard, Customer, github, shopify, zendesk
from tests.connect_flow.stage import Stage, until
from tests.connect_page.browsing import violations
from tests.parts.browser import packed

SCREENSHOTS = Path(__file__).parents[2] / "docs" / "screenshots"
MAX_BYTES = 150_000
WAYS = {"github": github, "shopify": shopify, "zendesk": zendesk}
#: A system for each face, so that every step is looked at in each.
FACES = [("desk", "light"), ("desk", "dark"), ("phone", "light")]


class Looking:
    """Looks at each step: axe-core, nothing beside the page, and a picture if it is wanted."""

    def __init__(self, customer: Customer, system: str, face: str) -> None:
        self._customer, self._system, self._face = customer, system, face
        self.found: list[Any] = []
        self.seen: list[str] = []

    def __call__(self, name: str, page: Any = None) -> None:
        self.seen.append(name)
        self.found += violations(page or self._customer.page, f"{self._system} {name}")
        if os.environ.get("HOOKLINE_SCREENSHOTS"):
            keep(page or self._customer.page, f"{self._system}-{name}-{self._face}")


def keep(page: Any, name: str) -> None:
    """A picture of what is on the page."""
    SCREENSHOTS.mkdir(exist_ok=True)
    target = SCREENSHOTS / f"connect-{name}.png"
    page.mouse.move(0, 0)
    target.write_bytes(packed(page.screenshot(full_page=True)))
    assert target.stat().st_size < MAX_BYTES, target


@pytest.mark.parametrize(("size", "scheme"), FACES)
@pytest.mark.parametrize("system", list(WAYS))
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
