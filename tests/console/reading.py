"""What a page says, read from its HTML as a person or a screen reader gets it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_VOID = {"meta", "link", "input", "br", "line", "rect"}


class Page(HTMLParser):
    """A page's texts, tables, links and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.links: list[str] = []
        #: Tables by the name of their region or caption; rows of texts.
        self.tables: dict[str, list[list[str]]] = {}
        self.figures: dict[str, tuple[str, str]] = {}
        self._region = ""
        self._rows: list[list[str]] = []
        self._cell: list[str] | None = None
        self._part = ""
        self._figure: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    @property
    def text(self) -> str:
        """All text, with single spaces."""
        return re.sub(r"\s+", " ", " ".join(self.words)).strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag == "a":
            self.links.append(found.get("href", ""))
        if found.get("role") == "region" or (tag == "section" and "aria-label" in found):
            self._region = found.get("aria-label", "")
        if tag == "table":
            self._rows = []
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._cell = []
        if tag in ("dt", "dd"):
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        text = re.sub(r"\s+", " ", "".join(self._cell or [])).strip()
        if tag in ("td", "th") and self._rows:
            self._rows[-1].append(text)
            self._cell = None
        if tag == "dt":
            self._figure = [text]
        if tag == "dd":
            self._figure.append(text)
            self.figures[self._figure[0]] = (
                self._figure[1],
                self._figure[2] if len(self._figure) > 2 else "",
            )
        if tag == "table":
            self.tables[self._region] = self._rows

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._cell is not None:
            self._cell.append(data)
