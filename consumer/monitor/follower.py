"""Who else gets what the monitor reads: tail sampling, alerts. The store knows nothing of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from schemas.execution import Execution, Reception


class Follower(Protocol):
    """Gets the rows of each batch once they are in the store, in the order of the log."""

    #: For log lines.
    name: str

    def follow(self, rows: Sequence[Execution | Reception]) -> None:
        """Take them and return soon: the monitor's one thread waits. No I/O here: for what
        takes time, give the process a `consumer.engine.housekeeping.Chore`.

        What it raises is logged and counted, and costs nobody else his rows. After a crash the
        last batch is not given again.
        """
