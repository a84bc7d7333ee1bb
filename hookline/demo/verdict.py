"""What the demo claims at its end, each claim checked against the store and the log's order."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hookline.demo.screen import Picture
from hookline.demo.traffic import FORGERIES, Sent


class Claim(msgspec.Struct, frozen=True):
    """One thing that must hold, with the figures that say whether it does."""

    holds: bool
    text: str


def read_effects(store: Path) -> list[tuple[str, str]]:
    """(event id, resource key) of every effect, in the order in which they happened."""
    with sqlite3.connect(store) as connection:
        found = connection.execute(
            "SELECT event_id, resource_key FROM demo_effects ORDER BY number"
        ).fetchall()
    connection.close()
    return found


def judge(
    sent: Sequence[Sent], effects: Sequence[tuple[str, str]], picture: Picture
) -> list[Claim]:
    """The claims: all answered, forgeries refused, one effect per event, order per entity."""
    genuine = [s for s in sent if not s.webhook.forged]
    answered = [s for s in genuine if s.status == 200]
    forged = [s for s in sent if s.webhook.forged]
    refused = [s for s in forged if s.status == 401]
    wanted = {s.webhook.event_id for s in answered}
    ids = [event_id for event_id, _ in effects]
    copies = len(answered) - len(wanted)
    wrong = out_of_order(effects, picture)
    return [
        Claim(
            len(answered) == len(genuine),
            f"{len(answered)} of {len(genuine)} signed webhooks answered 200",
        ),
        Claim(
            len(refused) == len(forged) == FORGERIES,
            f"{len(refused)} of {len(forged)} forged ones answered 401",
        ),
        Claim(
            len(ids) == len(set(ids)) and set(ids) == wanted,
            f"{len(ids)} effects = {len(wanted)} distinct event ids",
        ),
        Claim(
            picture.outcomes["duplicate"] == copies,
            f"{picture.outcomes['duplicate']} of {copies} copies skipped",
        ),
        Claim(
            not wrong,
            f"{len({key for _, key in effects})} entities, {len(wrong)} with effects out of order",
        ),
    ]


def out_of_order(effects: Sequence[tuple[str, str]], picture: Picture) -> list[str]:
    """The entities whose effects are not in the order of the log."""
    offset: dict[str, int] = {}
    for line in picture.accepted.values():
        event_id, at = line["event_id"], int(line["offset"])
        offset[event_id] = min(at, offset.get(event_id, at))
    order: defaultdict[str, list[int]] = defaultdict(list)
    for event_id, key in effects:
        order[key].append(offset.get(event_id, -1))
    return [key for key, offsets in order.items() if offsets != sorted(offsets)]
