"""Templates and static files. Rule: all text is escaped; no page holds a script or a style."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.resources import files
from typing import Any, Final

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

from console import words
from console.charts.lines import bucket_label

NAVIGATION: Final = (
    ("/", "Overview"),
    ("/connections", "Connections"),
    ("/events", "Events"),
    ("/dead-letters", "Dead letters"),
    ("/parked", "Parked"),
    ("/alerts", "Alerts"),
)
THEMES: Final = ("light", "dark")


class Asset(msgspec.Struct, frozen=True):
    """A file of `console/static`, read once."""

    body: bytes
    media_type: str


_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def load_assets() -> tuple[str, dict[str, Asset]]:
    """The static files by name, and a version that changes when any of them does."""
    found = {
        entry.name: Asset(entry.read_bytes(), _MEDIA_TYPES["." + entry.name.rpartition(".")[2]])
        for entry in (files("console") / "static").iterdir()
        if "." + entry.name.rpartition(".")[2] in _MEDIA_TYPES
    }
    digest = hashlib.blake2b(digest_size=6)
    for name in sorted(found):
        digest.update(found[name].body)
    return digest.hexdigest(), found


class Pages:
    """Renders templates; one for an application."""

    def __init__(self, version: str) -> None:
        self._environment = Environment(
            loader=PackageLoader("console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(navigation=NAVIGATION, version=version)
        self._environment.filters.update(
            ago=words.ago,
            bucket=bucket_label,
            bytes=words.bytes_,
            codes=codes,
            count=words.count,
            duration=words.duration,
            iso=words.iso,
            shown=words.shown,
            utc=words.utc,
        )

    def answer(self, template: str, values: dict[str, Any], status: int = 200) -> Response:
        """A page."""
        text = self._environment.get_template(template).render(values)
        return HTMLResponse(text, status)


def codes(text: str) -> Markup:
    """A text of ours in which commands stand in backticks; all else is escaped."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )


class Option(msgspec.Struct, frozen=True):
    """One choice of a menu."""

    value: str
    name: str
    chosen: bool = False


def options(known: Iterable[tuple[str, str]], chosen: str) -> list[Option]:
    """A menu; what is chosen is in it, also if it is not known (any more)."""
    found = [Option(value, name, value == chosen) for value, name in known]
    if chosen and not any(option.chosen for option in found):
        found.append(Option(chosen, chosen, True))
    return found
