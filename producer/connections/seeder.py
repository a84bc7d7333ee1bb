"""Writes what the configuration file says to the topic, once it is known what is there.

A piece at a time, each planned when the one before it is safe: what others write meanwhile, another
gateway from the same file or a person with a command, is not written over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from producer.connections.clients import TopicAccess, TopicWriter
from producer.connections.ledger import Ledger
from producer.connections.seeding import no_longer_listed, plan_seeding
from schemas.connection import Connection
from schemas.errors import HooklineError

log = logging.getLogger("hookline.connections")

#: Written at once. Whoever changes one of them within these milliseconds is written over.
PIECE: Final = 100
_NAMED: Final = 20
_AGAIN_S: Final = 2.0
_MAX_AGAIN_S: Final = 30.0


class Seeder:
    """Lets the file speak; `seed` is called again until `done`."""

    def __init__(
        self,
        access: TopicAccess,
        listed: Sequence[Connection],
        by: str,
        ledger: Callable[[], Ledger],
        lock: threading.RLock,
    ) -> None:
        """`ledger` gives what the topic says now; it is looked at under the lock."""
        self._access = access
        self._listed = listed
        self._by = by
        self._ledger = ledger
        self._lock = lock
        self._due_s, self._wait_s = 0.0, _AGAIN_S
        #: The offset behind what was written; None until all is.
        self.reaches: int | None = None
        #: Why it could not be written.
        self.problem = ""

    def due(self, now_s: float) -> bool:
        """Whether there is something to write, and it is time to try."""
        return self.reaches is None and now_s >= self._due_s

    def seed(self) -> bool:
        """Write what is not there; False if that failed and is to be tried again. Waits for Kafka.

        Crash window: what is written stands, and the next start writes the rest.
        """
        written: list[str] = []
        notes: list[tuple[str, str]] = []
        writer: TopicWriter | None = None
        to = 0
        try:
            for at in range(0, len(self._listed), PIECE):
                piece = self._listed[at : at + PIECE]
                with self._lock:
                    plan = plan_seeding(self._ledger(), piece, time.time_ns() // 1000, self._by)
                notes += plan.notes
                if plan.writes:
                    records = [(key.encode(), value) for key, value in plan.writes]
                    writer = writer or self._access.writer()
                    to = writer.write_all(records) + 1
                    written += [key.connection for key, _ in plan.writes]
        except HooklineError as error:
            self.problem = f"the file's connections are not on the topic yet: {error}"
            self._due_s = time.monotonic() + self._wait_s
            self._wait_s = min(2 * self._wait_s, _MAX_AGAIN_S)
            return False
        with self._lock:
            notes += no_longer_listed(self._ledger(), self._listed)
        _tell(notes)
        if written:
            log.info(
                "connections of the file written to the topic",
                extra={"data": _named(written)},
            )
        self.reaches = to
        return True


def _tell(notes: Iterable[tuple[str, str]]) -> None:
    """One line for what is to be said, not one for each connection."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for name, note in notes:
        names[note].append(name)
    for note, of in names.items():
        log.warning("the file and the topic differ", extra={"data": {**_named(of), "note": note}})


def _named(names: list[str]) -> dict[str, object]:
    distinct = sorted(set(names))
    return {"count": len(distinct), "connections": distinct[:_NAMED]}
