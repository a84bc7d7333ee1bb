"""What a person can choose of a run, and the one way in which a run fails."""

from __future__ import annotations

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """0 of a number: the part's own default, smaller if `quick`.

    `load` names the load generator: `wrk`, `own`, or empty for the best that is there. `only`:
    the candidates to run, all if it is empty.
    """

    rounds: int = 0
    seconds: int = 0
    events: int = 0
    minutes: int = 0
    rate: int = 0
    quick: bool = False
    only: tuple[str, ...] = ()
    connections: int = 64
    rival_workers: int = 1
    load: str = ""

    def chosen(self, name: str, usual: int, quick: int) -> int:
        """What was asked for, or the default of a run of this kind."""
        asked: int = getattr(self, name)
        return asked or (quick if self.quick else usual)


class NotBelievable(Exception):
    """What was measured is not the job that was asked for; the message says why."""
