"""Which executions and receptions are written: the same choice in every process, for one request.

Rule: what is remarkable is always kept and stands for itself; of all else one in n is kept and
stands for n. So a sum of weights counts what happened, whatever was left out.
"""

from __future__ import annotations

from typing import Final

#: Where the random bits begin that a trace's sampler looks at, too (see `request_id.sampled`).
RANDOM_AT: Final = 8


class ExecutionSampling:
    """`one_in`: 1 keeps everything, 0 nothing; what took `slow_us` or longer is remarkable."""

    __slots__ = ("bound", "one_in", "slow_us")

    def __init__(self, one_in: int = 1, slow_us: int = 1_000_000) -> None:
        self.one_in = one_in
        self.slow_us = slow_us
        # A request is chosen if the last 8 bytes of its id are below this; none is below nothing.
        # So a trace that is sampled at a ratio of 1 in `one_in` or less is of a chosen request.
        self.bound = b"\xff" * 9
        if one_in != 1:
            self.bound = (-(-(1 << 64) // one_in)).to_bytes(8, "big") if one_in else b""

    @property
    def off(self) -> bool:
        """Whether nothing is written at all."""
        return self.one_in == 0

    def chosen(self, request_id: bytes) -> bool:
        """Whether a request is kept though nothing about it is remarkable."""
        return request_id[RANDOM_AT:] < self.bound

    def weight(self, request_id: bytes, took_us: int, *, remarkable: bool) -> int:
        """For how many it stands: 1, or `one_in`, or 0 if it is not kept.

        `remarkable`: it failed, or somebody may ask for it by its id for another reason.
        """
        if (remarkable or took_us >= self.slow_us) and not self.off:
            return 1
        return self.one_in if request_id[RANDOM_AT:] < self.bound else 0
