"""Where what a customer entered leads to: who would be sent the secrets. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from producer.connect.system import OAuthClient, OAuthCode, System
from producer.connect.templates import fill


def destinations(system: System, values: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Scheme and host of every address that the system is asked at, as far as they are known.

    A secret belongs to those that it was entered for. Whoever holds the session's link later may
    lead the flow elsewhere, but the secret does not come along.
    """
    found = set()
    for template in _addresses(system):
        try:
            parts = urlsplit(fill(template, values))
        except ValueError:
            continue
        found.add((parts.scheme.lower(), parts.netloc.lower()))
    return frozenset(found)


def _addresses(system: System) -> Iterator[str]:
    yield system.base_url or ""
    yield from (call.url for _, call in system.calls() if call.url)
    how = system.authorisation
    if isinstance(how, OAuthClient | OAuthCode):
        yield how.token_url
    if isinstance(how, OAuthCode) and how.revoke_url:
        yield how.revoke_url
