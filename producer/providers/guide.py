"""What a person must know of a provider; docs/providers.md is made of these."""

from __future__ import annotations

import msgspec


class Guide(msgspec.Struct, frozen=True, kw_only=True):
    """Sentences in Markdown. `options` is an example in YAML, without the key `options:`."""

    title: str
    #: The titles of the vendor's pages that the module follows.
    pages: tuple[str, ...]
    scheme: str
    #: Where the secret is found or chosen, and what to give as the connection's.
    secret: str
    replay: str
    event_id: str
    event_type: str
    resource: str
    version: str
    occurred_at: str
    handshake: str = "None."
    #: Whether one request may hold several events.
    batches: bool = False
    options: str = ""
    notes: tuple[str, ...] = ()
