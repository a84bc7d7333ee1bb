"""Where a person opens a trace: `telemetry.trace_url` with a request id in it; pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from schemas.request_id import parse

_PLACE: Final = "{trace_id}"
#: Names for the two forms that nearly everybody has; the host goes in front.
FORMS: Final = {
    "jaeger": "/trace/{trace_id}",
    # Grafana's Explore on a Tempo data source with the uid `tempo`.
    "tempo": "/explore?schemaVersion=1&panes=%7B%22t%22%3A%7B%22datasource%22%3A%22tempo%22%2C"
    "%22queries%22%3A%5B%7B%22refId%22%3A%22A%22%2C%22queryType%22%3A%22traceql%22%2C%22query%22"
    "%3A%22{trace_id}%22%7D%5D%7D%7D",
}
_SHORT: Final = re.compile(r"(jaeger|tempo)\+(https?://\S+)")


def trace_link(template: str, request_id: str) -> str | None:
    """The address of a request's trace; None without a template or for what is no request id.

    `template` is `jaeger+https://host`, `tempo+https://grafana-host`, or any address with
    `{trace_id}` in it.
    """
    if not template:
        return None
    try:
        digits = parse(request_id).hex()
    except ValueError:
        return None
    return checked_template(template).replace(_PLACE, digits)


def checked_template(template: str) -> str:
    """An address with `{trace_id}` in it; ValueError, with what to write, if it is none."""
    if match := _SHORT.fullmatch(template):
        template = match[2].rstrip("/") + FORMS[match[1]]
    parts = urlsplit(template)
    if parts.scheme not in ("http", "https") or not parts.netloc or _PLACE not in template:
        raise ValueError(
            "write jaeger+https://host, tempo+https://grafana-host, or an address with {trace_id} "
            "in it"
        )
    if parts.password is not None:
        raise ValueError("a password may not be in the address: it is shown to people")
    return template
