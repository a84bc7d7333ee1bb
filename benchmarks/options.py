"""What a person can choose of a run, and the one way in which a run fails."""

from __future__ import annotations

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`load` names the load generator: `wrk`, `own`, or empty for the best that is there."""

    rounds: int = 5
    seconds: int = 4
    connections: int = 64
    rival_workers: int = 1
    load: str = ""


class NotBelievable(Exception):
    """What was measured is not the job that was asked for; the message says why."""
