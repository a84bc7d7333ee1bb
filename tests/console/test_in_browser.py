"""The pages in a real Chromium: light and dark, desk and phone, by keyboard, and axe-core finds
nothing. With HOOKLINE_SCREENSHOTS=1 they are saved to docs/screenshots."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from schemas.execution import Execution
from tests.console.stage import FixedDirectory, Stage, facts, letter, made_up, parked_event
from tests.parts.browser import axe_script, browser, packed
from tests.parts.cache import PartMissing

SCREENSHOTS = Path(__file__).parents[2] / "docs" / "screenshots"
SIZES = {"desk": (1120, 940), "phone": (390, 844)}
MAX_BYTES = 150_000
#: Of these all four are kept, of the others only the desk in light.
FACES = ("overview", "request")


class Served:
    """A console on a real port, with what it shows ending now."""

    def __init__(self, folder: Path) -> None:
        now_us = time.time_ns() // 1000
        self.stage = Stage(
            folder, made_up(20_000, now_us=now_us), directory=FixedDirectory(facts(now_us)),
            now_us=now_us,
        )  # fmt: skip
        self.stage.bury(*(letter(number, now_us) for number in range(1, 46)))
        self.stage.park(*(parked_event(number, now_us) for number in range(30)))
        self.token = self.stage.token()
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                self.stage.app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()
        self.request = next(
            row.request_id.hex() for row in reversed(self.stage.rows)
            if isinstance(row, Execution) and row.failures > 1
        )  # fmt: skip

    def paths(self) -> dict[str, str]:
        """The pages by name."""
        return {
            "overview": "/?range=24h",
            "connections": "/connections",
            "connection": "/connections/acme-stripe-1",
            "request": f"/requests/{self.request}",
            "events": "/events",
            "requests": "/requests?refused=1",
            "dead-letters": "/dead-letters",
            "dead-letter": "/dead-letters/3",
            "parked": "/parked",
            "alerts": "/alerts",
            "problem": "/requests/" + "0" * 32,
        }

    def close(self) -> None:
        """End it."""
        self._server.should_exit = True
        self._thread.join()
        self.stage.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("browser"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    running = browser()
    try:
        found = running.__enter__()
    except PartMissing as missing:
        if "browser" in os.environ.get("HOOKLINE_REQUIRE_PARTS", "").split(","):
            pytest.fail(f"required part browser is missing: {missing}")
        pytest.skip(f"browser is missing: {missing}")
    yield found
    running.__exit__(None, None, None)


def signed_in(chromium: Any, served: Served, size: str = "desk", scheme: str = "light") -> Any:
    width, height = SIZES[size]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on(
        "console",
        lambda said: (
            page.complaints.append(said.text)
            if said.type in ("error", "warning") and "404" not in said.text
            else None
        ),
    )
    page.goto(served.url + "/")
    page.fill("#token", served.token)
    page.press("#token", "Enter")
    page.wait_for_url(served.url + "/")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_every_page_is_clean_and_fits(
    chromium: Any, served: Served, size: str, scheme: str
) -> None:
    page = signed_in(chromium, served, size, scheme)
    script = axe_script().read_text()
    violations: list[Any] = []
    for name, path in served.paths().items():
        page.goto(served.url + path)
        # Evaluated by the test's own hand, as the page's policy lets no other script in.
        page.evaluate(script)
        found = page.evaluate("axe.run()")
        assert len(found["passes"]) > 10
        violations += [
            (name, one["id"], [node["html"][:200] for node in one["nodes"]][:3])
            for one in found["violations"]
        ]
        overflow = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not overflow, (name, size)
        _keep(page, name, size, scheme)
    assert violations == []
    assert page.complaints == []
    page.context.close()


def _keep(page: Any, name: str, size: str, scheme: str) -> None:
    if not os.environ.get("HOOKLINE_SCREENSHOTS"):
        return
    if name == "problem" or (name not in FACES and (size, scheme) != ("desk", "light")):
        return
    SCREENSHOTS.mkdir(exist_ok=True)
    target = SCREENSHOTS / f"console-{name}-{size}-{scheme}.png"
    page.mouse.move(0, 0)
    width, height = SIZES[size]
    if size == "desk":
        height = 830 if name == "overview" else 700
    clip = {"x": 0, "y": 0, "width": width, "height": height}
    target.write_bytes(packed(page.screenshot(clip=clip)))
    assert target.stat().st_size < MAX_BYTES, target


def test_the_keyboard_reaches_everything_in_order(chromium: Any, served: Served) -> None:
    page = signed_in(chromium, served)
    page.goto(served.url + "/?range=24h")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "15 min"
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('aria-label') || ''"))
        if reached[-1].startswith("Events per minute"):
            break
    page.keyboard.press("ArrowLeft")
    assert "here" in page.inner_text(".tip")
    page.keyboard.press("Escape")
    assert page.query_selector(".tip") is None
    page.context.close()


def test_a_chart_says_what_its_table_says_and_zooms_where_it_is_dragged(
    chromium: Any, served: Served
) -> None:
    page = signed_in(chromium, served)
    page.goto(served.url + "/?range=24h")
    drawing = page.locator("#throughput .plot > svg").nth(1)
    drawing.scroll_into_view_if_needed()
    box = drawing.bounding_box()
    y = box["y"] + 80
    rows = page.locator("#throughput details tbody tr")
    at = rows.count() // 2
    page.mouse.move(box["x"] + box["width"] * (at + 0.5) / rows.count(), y)
    row = rows.nth(at).locator("td").first.text_content()
    assert page.locator(".tip td").nth(1).text_content() == row
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, y, steps=4)
    page.mouse.up()
    page.wait_for_url("**/?from=*")
    assert "Zoomed in" in page.inner_text("main")
    page.context.close()


def test_colours_are_chosen_and_stay(chromium: Any, served: Served) -> None:
    page = signed_in(chromium, served)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.click("[data-theme-toggle]")
    page.click("[data-theme-toggle]")
    assert page.evaluate(ground) != light
    page.goto(served.url + "/events")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.context.close()


def test_without_javascript_all_is_there(chromium: Any, served: Served) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(served.url + "/")
    page.fill("#token", served.token)
    page.click("main button")
    assert "What needs attention first" in page.inner_text("main")
    page.goto(served.url + "/dead-letters")
    page.check("input[name=number][value='2']")
    page.click("button[value=discard]")
    assert "This was a dry run" in page.inner_text("main")
    context.close()
