"""The demo's handler: one row for each effect, so that a second one would be seen."""

from __future__ import annotations

from hookline import Event, Handlers, Transaction

handlers = Handlers()


@handlers.on("*")
def note_effect(event: Event, tx: Transaction) -> None:
    """Nothing keeps an event from having two rows here, but the consumer."""
    tx.execute(
        "CREATE TABLE IF NOT EXISTS demo_effects"
        " (number INTEGER PRIMARY KEY, event_id TEXT, resource_key TEXT, event_type TEXT)"
    )
    tx.execute(
        "INSERT INTO demo_effects (event_id, resource_key, event_type) VALUES (?, ?, ?)",
        (event.event_id, event.resource_key, event.event_type),
    )
