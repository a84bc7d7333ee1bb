"""One request to the console: who asks, for what, and the parts that answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from console.access import Visitor
from console.rendering import Pages
from consumer.monitor.alerts.contract import AlertStore
from consumer.monitor.contract import Questions
from consumer.stores.operations import Operations
from schemas.api_token import Scope


class SecretFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown of a signing secret: never where it is, never what it is. Times: Unix s."""

    name: str
    #: `active`, `not yet`, `expired` or `revoked`.
    state: str
    not_before_s: float | None = None
    not_after_s: float | None = None


class ConnectionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the connections topic says of a connection."""

    connection: str
    tenant: str
    provider: str
    #: `active`, `paused`, `revoked` or `unreadable`.
    state: str
    changed_at_us: int = 0
    secrets: Sequence[SecretFacts] = ()


class Directory(Protocol):
    """Which connections there are."""

    def connections(self, environment: str) -> Sequence[ConnectionFacts] | None:
        """All of an environment by name; None while, or where, it is not known."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What pages are made from; wired in `hookline/processes/console.py`."""

    questions: Questions
    operations: Callable[[], AbstractContextManager[Operations]]
    directory: Directory
    #: Unix µs.
    now_us: Callable[[], int]
    #: From a payload to what may be shown of it.
    redactor: Callable[[bytes], str]
    #: `telemetry.trace_url`; empty where nobody has said.
    trace_url: str = ""
    #: The same for logs, with {request_id} in it.
    logs_url: str = ""
    #: None where no alert rules are evaluated.
    alerts: Callable[[], AbstractContextManager[AlertStore]] | None = None


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """A request of somebody who is signed in, and may see this page."""

    parts: Parts
    pages: Pages
    visitor: Visitor
    request: Request
    query: Mapping[str, str]
    #: A form's fields, each as often as it was sent.
    form: Sequence[tuple[str, str]] = ()
    page_id: bytes
    now_us: int
    theme: str = ""

    @property
    def environment(self) -> str:
        """Whose figures these are: that of the token that signed in."""
        return self.visitor.admission.environment

    def may(self, scope: Scope) -> bool:
        """Whether the visitor's token has this scope."""
        return self.visitor.may(scope)

    def page(
        self, template: str, here: str, *, status: int = 200, live: bool = False, **values: Any
    ) -> Response:
        """An answer from a template."""
        return self.pages.answer(template, self.context(here, live=live) | values, status)

    def context(self, here: str, *, live: bool = False) -> dict[str, Any]:
        """What every page knows."""
        return {
            "session": self.visitor.admission,
            "csrf": self.visitor.csrf,
            "here": here,
            "live": live,
            "now_us": self.now_us,
            "page_id": self.page_id.hex(),
            "theme": self.theme,
        }

    def asked(self, name: str) -> str:
        """A field of the query, without what is around it."""
        return self.query.get(name, "").strip()

    def sent(self, name: str) -> str:
        """A field of the form."""
        return next((value for key, value in self.form if key == name), "").strip()

    def sent_all(self, name: str) -> list[str]:
        """A field of the form that may be there several times."""
        return [value for key, value in self.form if key == name]

    def link(self, path: str, **fields: str) -> str:
        """An address with the fields that are not empty."""
        return address(path, fields)


def address(path: str, fields: Mapping[str, str]) -> str:
    """A path with its query; empty fields are left out."""
    query = urlencode({name: value for name, value in fields.items() if value})
    return f"{path}?{query}" if query else path
