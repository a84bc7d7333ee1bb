"""A customer's browser: a page that tells of each complaint, and axe-core's look at it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.parts.browser import axe_script

SIZES = {"desk": (1100, 850), "phone": (320, 640)}
REPOSITORY = "https://github.com/acme/shop"


def opened(chromium: Any, address: str, size: str = "desk", **more: Any) -> Any:
    """A page in a context of its own; `page.complaints` has what the browser did not like."""
    width, height = SIZES[size]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, **{"reduced_motion": "reduce"} | more
    )
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on(
        "console",
        lambda said: page.complaints.append(said.text) if said.type in ("error", "warning") else 0,
    )
    page.goto(address)
    return page


def violations(page: Any, name: str) -> list[Any]:
    """What axe-core finds, shadow trees included."""
    if not page.evaluate("typeof axe !== 'undefined'"):
        # Evaluated by the test's own hand, as the page's policy lets no other script in.
        page.evaluate(axe_script().read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    return [
        (name, one["id"], [node["html"][:200] for node in one["nodes"]][:3])
        for one in found["violations"]
    ]


def button(page: Any, name: str) -> Any:
    """A button by what it is called."""
    return page.get_by_role("button", name=name)


def heading(page: Any, text: str) -> None:
    """Wait until a step's heading is there."""
    page.get_by_role("heading", level=2, name=text).wait_for()


def fill(page: Any, token: str, url: str = REPOSITORY) -> None:
    """GitHub's form, up to its button."""
    page.locator("#field-url").fill(url)
    page.locator("#field-token").fill(token)
    button(page, "Check and continue").click()


def until(page: Any, holds: Callable[[], bool], what: str) -> None:
    """Wait for it: wait_for_function would need a policy that lets strings be run."""
    deadline_s = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < deadline_s, what
        page.wait_for_timeout(20)
