"""The URL that a system was given, for the schemes that sign it: a proxy may show another."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator

DEFAULT_PORTS: Final = {"https": 443, "http": 80}


def _checked_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or port == 0:
        raise ValueError(
            f"{text!r} is no public URL: write one such as https://hooks.example.com/…"
        )
    if parts.username is not None or parts.query or parts.fragment or not text.isascii():
        raise ValueError(
            "the URL has a user, a query, a fragment or letters beyond ASCII: write it up to the "
            "path; the query is taken from each request"
        )
    return text


#: A URL in a provider's options, up to its path.
PublicUrl = Annotated[str, AfterValidator(_checked_url)]
