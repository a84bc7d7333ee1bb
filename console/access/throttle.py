"""How often a sign-in may fail, per address and per token: pure, bounded, the clock an argument.

Not against guessing, which 166 random bits see to, but so that a stray script or a scanner costs
and logs next to nothing. The longest wait is short, so that nobody can lock another out for long.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

FREE_FAILURES: Final = 5
MAX_WAIT_S: Final = 60.0
FORGET_S: Final = 900.0
MAX_KEYS: Final = 10_000


class _Failures(NamedTuple):
    times: int
    last_s: float

    @property
    def until_s(self) -> float:
        beyond = self.times - FREE_FAILURES
        return self.last_s + min(MAX_WAIT_S, 2.0**beyond) if beyond >= 0 else self.last_s


class Throttle:
    """Counts failures by key; of more than `max_keys`, the longest without one are forgotten."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._max_keys = max_keys

    def __len__(self) -> int:
        return len(self._failures)

    def wait_s(self, keys: tuple[str, ...], now_s: float) -> float:
        """How long these keys must wait from now on; 0 if they need not."""
        found = (self._failures.get(key) for key in keys)
        return max(0.0, *(f.until_s - now_s for f in found if f is not None), 0.0)

    def failed(self, keys: tuple[str, ...], now_s: float) -> None:
        """Count a failure of each."""
        for key in filter(None, keys):
            before = self._failures.pop(key, None)
            fresh = before is None or now_s - before.last_s > FORGET_S
            times = 1 if before is None or fresh else before.times + 1
            self._failures[key] = _Failures(times, now_s)
            if len(self._failures) > self._max_keys:
                self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures of one key."""
        self._failures.pop(key, None)


def address_key(host: str) -> str:
    """What of an address counts: of IPv6 the network, since one machine has 2**64 of them."""
    try:
        address = ip_address(host)
    except ValueError:
        return host[:64]
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)
