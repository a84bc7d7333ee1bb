"""From an entry's call to a request: templates filled so that a value stays within its place.

Whoever chooses the host is sent the credentials: a value in a host's name may hold nothing that
ends it, one in a path no query and no way up, one in a query nothing but itself.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

import msgspec

from credentials.secret import MASK
from producer.connect.flow.state import Explanation
from producer.connect.system import ApiKey, Basic, Bearer, Call, OAuthClient, OAuthCode, System
from producer.connect.templates import fill, fill_all
from producer.outgoing.answers import FailureKind, OutgoingAnswer, OutgoingFailure, Stage

_HOST_PART: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_SPLIT: Final = re.compile(
    r"(?P<host>https?://[^/?#]*|\{[a-z][a-z0-9_]*\})(?P<path>[^?]*)(?P<query>.*)"
)
_AGENT: Final = "Hookline"


class Requests(Protocol):
    """What sends requests to systems, such as `producer.outgoing.client.OutgoingClient`."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = ...,
        content: bytes | None = ...,
        timeout_s: float | None = ...,
        on_stage: Callable[[Stage], None] | None = ...,
    ) -> OutgoingAnswer:
        """The answer, whatever its status; OutgoingFailure if there is none."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is ready to be sent. It holds credentials."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None = None

    def __repr__(self) -> str:
        return f"Prepared({self.method}, {MASK})"


#: Explanations of requests that never got to the system.
_NOT_SENT: Final = frozenset(
    {
        *("credentials_malformed", "ours_busy", "address_malformed", "address_refused"),
        *("name_unknown", "connection_refused", "certificate", "tls"),
    }
)


class Unanswered(Exception):
    """A request whose outcome is explained; `answer` if there was one."""

    def __init__(self, explanation: Explanation, answer: OutgoingAnswer | None = None) -> None:
        super().__init__(explanation.code)
        self.explanation = explanation
        self.answer = answer

    @property
    def refused(self) -> bool:
        """Whether the system has not done what was asked, for sure."""
        if self.answer is None:
            return self.explanation.code in _NOT_SENT
        return 400 <= self.answer.status < 500


def document(answer: OutgoingAnswer) -> Any:
    """An answer's JSON; None if it is none."""
    try:
        return msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        return None


async def send(
    requests: Requests, prepared: Prepared, on_stage: Callable[[Stage], None] | None = None
) -> OutgoingAnswer:
    """Send it; OutgoingFailure. `on_stage` is told how far it has come."""
    return await requests.request(
        prepared.method,
        prepared.url,
        headers=prepared.headers,
        content=prepared.content,
        on_stage=on_stage,
    )


def prepare(system: System, call: Call, values: Mapping[str, str], token: str = "") -> Prepared:
    """The request. `values` are fields and ours, secrets among them, each as it is; `token` is
    OAuth's. OutgoingFailure (address_malformed) if a value does not fit its place."""
    base = place(system.base_url or "", values).rstrip("/")
    url = place(call.url, values) if call.url else base + _path(call.path or "", values)
    headers = {name: fill(text, values) for name, text in call.headers.items()}
    added, query = authorisation(system, values, token)
    headers = {"Accept": "application/json", "User-Agent": _AGENT, **headers, **added}
    content: bytes | None = None
    if call.json_body is not None:
        content = json.dumps(fill_all(call.json_body, values)).encode()
        headers.setdefault("Content-Type", "application/json")
    elif call.form is not None:
        content = urlencode(fill_all(call.form, values), doseq=True).encode()
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    if query:
        url += ("&" if "?" in url else "?") + urlencode(query)
    return Prepared(method=call.method, url=url, headers=headers, content=content)


def authorisation(
    system: System, values: Mapping[str, str], token: str
) -> tuple[dict[str, str], dict[str, str]]:
    """The headers and query parameters that prove who asks."""
    how = system.authorisation
    if isinstance(how, ApiKey):
        pair = {how.name: fill(how.value, values)}
        return (pair, {}) if how.place == "header" else ({}, pair)
    if isinstance(how, Bearer):
        return {"Authorization": f"Bearer {fill(how.token, values)}"}, {}
    if isinstance(how, Basic):
        return {"Authorization": basic(fill(how.username, values), fill(how.password, values))}, {}
    if isinstance(how, OAuthCode) and token:
        if how.use == "header":
            return {how.header: token}, {}
        return {"Authorization": f"Bearer {token}"}, {}
    if isinstance(how, OAuthClient) and token:
        return {"Authorization": f"Bearer {token}"}, {}
    return {}, {}


def basic(username: str, password: str) -> str:
    """The value of a Basic authorisation (RFC 7617, UTF-8)."""
    pair = f"{username}:{password}".encode("utf-8", "surrogatepass")
    return f"Basic {base64.b64encode(pair).decode()}"


def place(template: str, values: Mapping[str, str]) -> str:
    """A whole URL filled; OutgoingFailure if what stands for a host could be something else."""
    match = _SPLIT.fullmatch(template)
    if match is None:
        return template
    # The customer's own address, as a whole, is judged when it is asked.
    own = match["host"].startswith("{")
    host = fill(match["host"], values).rstrip("/") if own else fill(match["host"], values, _in_host)
    return host + _path(match["path"] + match["query"], values)


def _path(template: str, values: Mapping[str, str]) -> str:
    path, mark, query = template.partition("?")
    return fill(path, values, _in_path) + mark + fill(query, values, _in_query)


def _in_host(value: str) -> str:
    if _HOST_PART.fullmatch(value) is None or ".." in value:
        raise OutgoingFailure(FailureKind.ADDRESS_MALFORMED, "a value cannot be part of a host")
    return value


def _in_path(value: str) -> str:
    parts = value.split("/")
    if any(part in (".", "..") for part in parts):
        raise OutgoingFailure(FailureKind.ADDRESS_MALFORMED, "a value leads out of its path")
    return "/".join(quote(part, safe="") for part in parts)


def _in_query(value: str) -> str:
    return quote(value, safe="")
