"""What it costs a store to remember many ids, look them up, and forget half of them meanwhile.

All through the contract, in transactions as the engine makes them: seen, remember, advance.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.consumer.id_stores import STORES, IdStore
from benchmarks.figures import table
from benchmarks.options import NotBelievable, Options
from benchmarks.process_usage import others_cpu_us
from consumer.stores.contract import Claim, Partition, Store

_DAY_S: Final = 86_400
_AT_ONCE: Final = 2_000
_BATCH: Final = 500
#: Of the committer beside which ids expire.
_SMALL_BATCH: Final = 50
_PACE_S: Final = 0.005
#: What the engine's housekeeping waits between two steps.
_BREATH_S: Final = 0.05
#: How long the committer is alone, to compare with.
_ALONE_S: Final = 10.0
_LOOKUPS: Final = 100_000


class _Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one store."""

    ids: int
    inserts_per_s: float
    bytes_per_id: float
    lookup_us: float
    expired_in_s: float
    steps: int
    longest_step_ms: float
    #: Of commits, in ms: without expiry and beside it.
    alone_p99_ms: float
    alone_longest_ms: float
    beside_p50_ms: float
    beside_p99_ms: float
    beside_longest_ms: float


def run(options: Options) -> dict[str, Any]:
    """Measure, print, and return the figures; NotBelievable if an id is lost or stays."""
    count = options.chosen("events", 5_000_000, 200_000)
    print(f"{count:,} ids in each store, half of them of a day that ends; transactions of "
          f"{_BATCH}; expiry by {_AT_ONCE:,} at once, a breath of {_BREATH_S * 1000:.0f} ms "
          f"between; the committer beside it: {_SMALL_BATCH} ids, then {_PACE_S * 1000:.0f} ms",
          flush=True)  # fmt: skip
    measured: dict[str, _Figures] = {}
    others: dict[str, float] = {}
    for name, opened in STORES.items():
        if options.only and name not in options.only:
            continue
        with ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="hookline-bench-")
            place = stack.enter_context(opened(Path(stack.enter_context(folder))))
            began_s, began_us = time.monotonic(), others_cpu_us()
            measured[name] = _measure(place, count)
            others[name] = (others_cpu_us() - began_us) / 1e6 / (time.monotonic() - began_s)
            print(f"  {name} done", flush=True)
    _report(measured, others)
    return {"figures": msgspec.to_builtins(measured), "others_cores": others}


def _measure(place: IdStore, count: int) -> _Figures:
    store = place.store
    partition = Partition("bench", 0)
    (claim,) = store.claim([partition], "benchmark")
    today = int(time.time())
    old = today - 9 * _DAY_S
    empty = place.size_bytes()
    began = time.perf_counter()
    for first in range(0, count, _BATCH):
        ids = [_id(number) for number in range(first, min(first + _BATCH, count))]
        _commit(store, claim, ids, first, old if first < count // 2 else today)
    took_s = time.perf_counter() - began
    size = place.size_bytes() - empty
    lookup_us = _lookups(store, count)
    new = _new_ids(count)
    alone, _ = _commits(store, claim, new, today, lambda took: took > _ALONE_S)
    with _expiring(store, today - _DAY_S) as expiry:
        beside, expired_in_s = _commits(store, claim, new, today, lambda _: expiry.done.is_set())
    if expiry.problem is not None:
        raise expiry.problem
    half = count // 2 // _BATCH * _BATCH
    _check_forgotten(store, half, count)
    return _Figures(
        ids=count,
        inserts_per_s=count / took_s,
        bytes_per_id=size / count,
        lookup_us=lookup_us,
        expired_in_s=expired_in_s,
        steps=len(expiry.steps_ms),
        longest_step_ms=max(expiry.steps_ms),
        alone_p99_ms=_at(alone, 0.99),
        alone_longest_ms=max(alone),
        beside_p50_ms=_at(beside, 0.5),
        beside_p99_ms=_at(beside, 0.99),
        beside_longest_ms=max(beside),
    )


def _id(number: int) -> bytes:
    return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest()


def _new_ids(first: int) -> Iterator[tuple[list[bytes], int]]:
    while True:
        yield [_id(number) for number in range(first, first + _SMALL_BATCH)], first
        first += _SMALL_BATCH


def _commit(store: Store, claim: Claim, ids: Sequence[bytes], offset: int, now_s: int) -> None:
    with store.commit() as commit:
        if not commit.owned([claim]) or commit.seen(ids):
            raise NotBelievable("a store has lost its owner, or knows ids it never saw")
        commit.remember(ids, now_s)
        commit.advance([claim], {claim.partition: offset + len(ids)}, {}, now_s)


def _lookups(store: Store, count: int) -> float:
    """µs an id, of which one in twenty is there, as with real copies."""
    draw = random.Random(1)
    ids = [
        _id(draw.randrange(count) if number % 20 == 0 else count * 2 + number)
        for number in range(min(_LOOKUPS, count))
    ]
    found = 0
    took_ns = 0
    for first in range(0, len(ids), _BATCH):
        with store.commit() as commit:
            began = time.perf_counter_ns()
            found += len(commit.seen(ids[first : first + _BATCH]))
            took_ns += time.perf_counter_ns() - began
    expected = sum(
        len(set(ids[first : first + _BATCH : 20])) for first in range(0, len(ids), _BATCH)
    )
    if found != expected:
        raise NotBelievable(f"{found} ids found, {expected} were remembered")
    return took_ns / 1000 / len(ids)


def _commits(
    store: Store, claim: Claim, new: Iterator[tuple[list[bytes], int]], now_s: int,
    enough: Callable[[float], bool],
) -> tuple[list[float], float]:  # fmt: skip
    """How long each of many commits took, in ms, and all of them together, in s."""
    taken = []
    began_all = time.perf_counter()
    while True:
        ids, first = next(new)
        began = time.perf_counter()
        _commit(store, claim, ids, first, now_s)
        ended = time.perf_counter()
        taken.append((ended - began) * 1000)
        if enough(ended - began_all):
            return taken, ended - began_all
        time.sleep(_PACE_S)


class _Expiry:
    """A thread that forgets as the engine's housekeeping does."""

    def __init__(self, store: Store, before_s: int) -> None:
        self.done = threading.Event()
        self.steps_ms: list[float] = []
        self.problem: Exception | None = None
        self._store = store
        self._before_s = before_s

    def run(self) -> None:
        """Step after step, until nothing is left."""
        try:
            more = True
            while more:
                began = time.perf_counter()
                more = self._store.expire(self._before_s, _AT_ONCE) > 0
                self.steps_ms.append((time.perf_counter() - began) * 1000)
                time.sleep(_BREATH_S)
        # The thread's top: raised again by the main thread.
        except Exception as problem:
            self.problem = problem
        finally:
            self.done.set()


@contextmanager
def _expiring(store: Store, before_s: int) -> Iterator[_Expiry]:
    expiry = _Expiry(store, before_s)
    thread = threading.Thread(target=expiry.run)
    thread.start()
    try:
        yield expiry
    finally:
        thread.join()


def _check_forgotten(store: Store, half: int, count: int) -> None:
    with store.commit() as commit:
        old = commit.seen([_id(number) for number in range(0, half, max(1, half // 500))])
    with store.commit() as commit:
        kept = [_id(number) for number in range(count - 500, count)]
        young = commit.seen(kept)
    if old or len(young) != len(kept):
        raise NotBelievable(f"{len(old)} old ids are still there, {500 - len(young)} young are not")


def _at(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _report(measured: dict[str, _Figures], others: dict[str, float]) -> None:
    print()
    heads = ["", "ids/s", "bytes/id", "lookup µs/id"]
    rows = [
        [name, f"{one.inserts_per_s:,.0f}", f"{one.bytes_per_id:.1f}", f"{one.lookup_us:.1f}"]
        for name, one in measured.items()
    ]
    print(table(heads, rows))
    print("\nms a commit, alone and while half of all ids expire")
    heads = ["", "alone p99", "longest", "beside p50", "p99", "longest", "expired in s", "steps",
             "longest step ms"]  # fmt: skip
    rows = [
        [name, f"{one.alone_p99_ms:.1f}", f"{one.alone_longest_ms:.1f}",
         f"{one.beside_p50_ms:.1f}", f"{one.beside_p99_ms:.1f}", f"{one.beside_longest_ms:.1f}",
         f"{one.expired_in_s:.1f}", f"{one.steps:,}", f"{one.longest_step_ms:.1f}"]
        for name, one in measured.items()
    ]  # fmt: skip
    print(table(heads, rows))
    told = ", ".join(f"{cores:.1f} ({name})" for name, cores in others.items())
    print(f"meanwhile other programs used {told} cores")
