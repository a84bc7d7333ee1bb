"""A customer at a browser: with a mouse, by keyboard alone, or at a human's speed; what is done is
counted. The same three ways through the flow are walked by each."""

from __future__ import annotations

import time
from typing import Any, Final

from playwright.sync_api import TimeoutError

from tests.connect_flow.stage import DESK, EMAIL, REPOSITORY, SHOP, Stage

#: A human's: characters a second, and seconds for a line of guidance and for a screen.
TYPED_PER_S: Final = 5.0
READ_S: Final = 2.0
#: For a click in the other system's own pages, which are not there to be clicked in.
CLICK_S: Final = 1.0
_TABS: Final = 120


class Customer:
    """With a mouse, as fast as the machine can. `page.complaints` has what the browser says."""

    def __init__(self, chromium: Any, *, scheme: str = "light", size: str = "desk") -> None:
        width, height = SIZES[size]
        self.context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
            ignore_https_errors=True,
        )
        self.context.set_default_timeout(20_000)
        self.page = self.tab()
        self.clicks = self.fields = 0

    def tab(self) -> Any:
        """Another tab of the same browser."""
        page = self.context.new_page()
        page.complaints = []
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("console", lambda said: _complain(page, said))
        return page

    def close(self) -> None:
        """End it."""
        self.context.close()

    # What a hand does.

    def open(self, url: str) -> None:
        """A page in the tab; a new document also where only what is behind `#` differs."""
        if url.partition("#")[0] == self.page.url.partition("#")[0]:
            self.page.goto("about:blank")
        self.page.goto(url)

    def press(self, name: str, page: Any = None) -> None:
        """A button or a link, by its name."""
        self.clicks += 1
        self._press(self._named(page or self.page, name), page or self.page)

    def write(self, label: str, text: str) -> None:
        """Into a field, by its label."""
        self.fields += 1
        self._write(self.page.get_by_label(label, exact=False).first, text)

    def read(self) -> None:
        """What the page says."""

    def elsewhere(self, clicks: int, typed: str = "") -> None:
        """What is done in the other system's own pages."""

    def _named(self, page: Any, name: str) -> Any:
        button = page.get_by_role("button", name=name, exact=False)
        return button.or_(page.get_by_role("link", name=name, exact=False)).first

    def _press(self, target: Any, page: Any) -> None:
        target.click()

    def _write(self, target: Any, text: str) -> None:
        target.fill(text)

    def popup(self, name: str) -> Any:
        """The window that a button opens."""
        with self.page.expect_popup() as opening:
            self.press(name)
        return opening.value

    # What is on the page.

    def heading(self, text: str) -> None:
        """Wait for a step."""
        self._wait(self.page.get_by_role("heading", level=2, name=text), text)
        self.read()

    def sees(self, text: str) -> None:
        """Wait for a text."""
        self._wait(self.page.get_by_text(text, exact=False).first, text)

    def _wait(self, target: Any, what: str) -> None:
        try:
            target.wait_for()
        except TimeoutError:
            raise AssertionError(f"{what!r} was not to be seen in: {self.text()}") from None

    def text(self) -> str:
        """All that the component shows."""
        found: str = self.page.locator("hookline-connect").evaluate(
            "element => element.shadowRoot.textContent"
        )
        return found


class ByKeyboard(Customer):
    """With no mouse, of which the page would complain: Tab until it is there, then type or press
    Enter."""

    def tab(self) -> Any:
        """See Customer."""
        page = super().tab()
        page.add_init_script(
            "addEventListener('pointerdown', () => console.error('a pointer was used'), true)"
        )
        return page

    def _press(self, target: Any, page: Any) -> None:
        self._reach(target, page)
        page.keyboard.press("Enter")

    def _write(self, target: Any, text: str) -> None:
        self._reach(target, self.page)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def _reach(self, target: Any, page: Any) -> None:
        target.wait_for()
        for _ in range(_TABS):
            if target.evaluate("node => node.matches(':focus')"):
                return
            page.keyboard.press("Tab")
        raise AssertionError("the keyboard does not lead there")


class AtHumanSpeed(Customer):
    """Types 5 characters a second, and reads each line of guidance and each screen for 2 s."""

    def __init__(self, chromium: Any, **more: Any) -> None:
        super().__init__(chromium, **more)
        self.context.set_default_timeout(120_000)
        self.typed = self.lines = self.screens = self.clicks_elsewhere = 0

    def read(self) -> None:
        lines = self.page.locator(".numbered li").count()
        self.lines += lines
        self.screens += 1
        time.sleep(READ_S * (1 + lines))

    def elsewhere(self, clicks: int, typed: str = "") -> None:
        self.clicks_elsewhere += clicks
        time.sleep(clicks * CLICK_S + len(typed) / TYPED_PER_S)

    def _write(self, target: Any, text: str) -> None:
        target.click()
        self.typed += len(text)
        target.press_sequentially(text, delay=1000 / TYPED_PER_S)


SIZES: Final = {"desk": (1100, 800), "phone": (390, 844)}


def _complain(page: Any, said: Any) -> None:
    if said.type in ("error", "warning"):
        page.complaints.append(said.text)


# The three ways.


def look(name: str, page: Any = None) -> None:
    """Looks at nothing."""


def github(stage: Stage, customer: Customer, at: Any = look, *, token: str = "") -> None:
    """From the choice to connected: a token, and a ping that GitHub sends by itself."""
    customer.heading("What do you want to connect?")
    at("choose")
    customer.write("Search", "git hub")
    customer.press("GitHub Issues")
    customer.heading("Your GitHub account")
    at("details")
    # A token: open the page, name, expiry, owner, repository, permission, generate, copy.
    customer.elsewhere(14, "Northwind")
    customer.write("Repository", REPOSITORY)
    customer.write("Access token", token or stage.credentials["github"])
    customer.press("Continue")
    customer.heading("GitHub is connected")
    at("connected")


def shopify(stage: Stage, customer: Customer, at: Any = look) -> None:
    """OAuth in a window of its own; the customer then saves a product."""
    customer.heading("What do you want to connect?")
    customer.write("Search", "shop")
    customer.press("Shopify Orders")
    customer.heading("Your Shopify account")
    at("details")
    customer.write("Shop address", SHOP)
    customer.press("Continue")
    customer.heading("Allow access in Shopify")
    at("authorise")
    window = customer.popup("Continue to Shopify")
    window.locator("#install").wait_for()
    at("consent", window)
    customer.elsewhere(0, " " * int(READ_S * TYPED_PER_S))
    customer.press("Install", window)
    customer.heading("A first event from Shopify")
    at("test")
    # Products, one of them, its tags, Save.
    customer.elsewhere(4, "test")
    stage.street.shopify.edit_product(SHOP)
    customer.heading("Shopify is connected")
    at("connected")


def zendesk(stage: Stage, customer: Customer, at: Any = look) -> None:
    """An address, an e-mail and a token; the customer then makes a ticket."""
    customer.heading("What do you want to connect?")
    customer.write("Search", "zendesk")
    customer.press("Zendesk Tickets")
    customer.heading("Your Zendesk account")
    at("details")
    # A token: Admin Center, Apps and integrations, APIs, API tokens, add, describe, save, copy.
    customer.elsewhere(8, "Northwind")
    customer.write("Zendesk address", DESK)
    customer.write("E-mail of an administrator", EMAIL)
    customer.write("API token", stage.credentials["zendesk"])
    customer.press("Continue")
    customer.heading("A first event from Zendesk")
    at("test")
    # Add, Ticket, requester, subject, text, Submit.
    customer.elsewhere(6, "Connection testtest")
    stage.street.zendesk.make_ticket(DESK)
    customer.heading("Zendesk is connected")
    at("connected")
