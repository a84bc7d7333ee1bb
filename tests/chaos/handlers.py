"""One row an effect, and nothing in the table that would hide a second one."""

from __future__ import annotations

from hookline import Event, Handlers, Transaction

handlers = Handlers()

_COLUMNS = "(number INTEGER PRIMARY KEY, event_id TEXT, resource_key TEXT)"


@handlers.on("*")
def note(event: Event, tx: Transaction) -> None:
    tx.execute(f"CREATE TABLE IF NOT EXISTS effects {_COLUMNS}")
    tx.execute(
        "INSERT INTO effects (event_id, resource_key) VALUES (?, ?)",
        (event.event_id, event.resource_key),
    )
