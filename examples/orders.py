"""A first handler: keeps the newest state of each order in a table, exactly once per event."""

from __future__ import annotations

from hookline import Event, Handlers, Transaction

handlers = Handlers()


@handlers.on("hmac.order.*")
def keep_order(event: Event, tx: Transaction) -> None:
    """Commits together with the note that this event is done, or not at all."""
    order = event.json()["data"]
    tx.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, state TEXT, changes INT)")
    tx.execute(
        "INSERT INTO orders VALUES (?, ?, 1)"
        " ON CONFLICT DO UPDATE SET state = excluded.state, changes = changes + 1",
        (event.resource_id, order["state"]),
    )
