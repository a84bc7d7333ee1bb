"""A probe as a connection's own provider would send it; pure, and checked before it is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel

from producer.providers.identity_sources import BodySource, parse_source
from producer.providers.provider import Identity, Outgoing, Provider, Request
from schemas.errors import ConfigurationError
from schemas.probe import PROBE, RESOURCES, is_probe

_SOURCES: Final = ("event_id", "event_type", "resource_type", "resource_id", "occurred_at")
_INSTEAD: Final = """\
add a connection for probes, which also leaves the others' figures as they are:
connections:
  - id: hookline-probe
    tenant: hookline
    provider: standard_webhooks
    secrets: [{name: probe, ref: "env:HOOKLINE_PROBE_SECRET"}]   # whsec_ and base64"""


def probe(
    connection_id: str,
    provider: Provider,
    options: BaseModel,
    key: object,
    *,
    event_id: str,
    number: int,
    now_s: float,
) -> Outgoing:
    """The signed request of the probe with this number; ConfigurationError if it would be none.

    What a probe is not recognised as, a handler would take for an event: so its type is read
    from it as the gateway will.
    """
    body = json.dumps(_body(options, event_id, number, now_s)).encode()
    event_type = f"{provider.name}.{PROBE}"
    sent = provider.outgoing(body, key, event_id=event_id, event_type=event_type, now_s=now_s)
    identity = provider.identify(Request(_Headers(sent.headers), sent.body, sent.query, b"\0" * 16))
    if not isinstance(identity, Identity) or not is_probe(identity.event_type):
        raise ConfigurationError(
            f"connection {connection_id}: provider {provider.name} cannot carry a probe that "
            f"everybody knows as one; {_INSTEAD}"
        )
    return sent


def _body(options: BaseModel, event_id: str, number: int, now_s: float) -> dict[str, Any]:
    resource = f"hookline-probe-{number % RESOURCES}"
    moment = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body: dict[str, Any] = {
        "id": event_id,
        "type": PROBE,
        # GitHub's type is the header and the action.
        "action": PROBE.partition(".")[2],
        "created": int(now_s),
        "timestamp": moment,
        "data": {"id": resource, "object": {"id": resource, "object": "probe"}},
        "about": "A synthetic webhook of `hookline probe`; it stands for nothing.",
    }
    values = dict(zip(_SOURCES, (event_id, PROBE, "probe", resource, moment), strict=True))
    for name, value in values.items():
        text = getattr(options, name, None)
        if isinstance(text, str):
            source = parse_source(text)
            if isinstance(source, BodySource):
                _put(body, source.tokens, value)
    return body


def _put(body: dict[str, Any], tokens: tuple[str, ...], value: str) -> None:
    *parents, last = tokens
    for token in parents:
        inner = body.get(token)
        if not isinstance(inner, dict):
            inner = body[token] = {}
        body = inner
    body[last] = value


class _Headers:
    """The headers that `outgoing` makes, as a request's."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name.lower(): value for name, value in values.items()}

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def get_all(self, key: str) -> list[str]:
        return [self._values[key]] if key in self._values else []
