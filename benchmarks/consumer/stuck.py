"""What a key in trouble costs the others: their time from produce to effect, with it and without.

One consumer and a steady stream; phases without trouble and with it take turns, so that what
slows the machine for a while is in both. A phase with trouble is compared with both neighbours.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import Producer

from benchmarks.consumer import events
from benchmarks.consumer.candidates import Job, start_hookline
from benchmarks.consumer.trouble import EFFECTS_FILE, NOTE, TROUBLE, TROUBLED
from benchmarks.figures import plain, ratios, spread, table
from benchmarks.options import NotBelievable, Options
from schemas.event import Event
from tests.parts.kafka import VERSION, KafkaBroker
from tests.parts.process import Process

_KEYS: Final = 200
_PER_S: Final = 1_000
_TICK_S: Final = 0.005
#: Of a phase that are not counted: the backlog of the trouble before is worked off in them.
_SETTLE_S: Final = 5.0
_STUCK: Final = "a key is stuck"
_FAILING: Final = "a key fails, and is parked"
_FIGURES: Final = (("p50_ms", "p50 ms", 0.50), ("p99_ms", "p99 ms", 0.99))


class _Phase(msgspec.Struct, frozen=True):
    """`trouble` is empty without; times are Unix µs, of events that count."""

    trouble: str
    from_us: int
    until_us: int


def run(options: Options) -> dict[str, Any]:
    """Measure, print, and return the figures; NotBelievable if an effect is missing."""
    seconds = options.chosen("seconds", 60, 10)
    rounds = options.chosen("rounds", 2, 1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hookline-bench-")))
        broker = stack.enter_context(KafkaBroker())
        topic = broker.create_topic("bench-stuck", events.PARTITIONS)
        job = Job(broker=broker, log=events.Log(topic, 0, 0), group="bench-stuck",
                  url=f"sqlite:///{folder}/store.db", folder=folder, expected=1)  # fmt: skip
        process = start_hookline(
            job,
            "benchmarks.consumer.external_handlers:troubled",
            handler_timeout_ms=2_000 * seconds,
            stall_after_ms=4_000 * seconds,
            retry={"budget_ms": 2_000},
            parking={"initial_ms": 1_000, "max_ms": 4_000},
        )
        stack.callback(process.stop)
        print(f"{_PER_S:,} events/s over {_KEYS} keys, handlers without a transaction, SQLite; "
              f"{rounds} rounds, one key in trouble for {seconds} s in each; "
              f"Kafka {VERSION}, one broker", flush=True)  # fmt: skip
        plan = [("", seconds / 2), (_STUCK, seconds), ("", seconds / 2), (_FAILING, seconds)]
        stream = _Stream(broker, topic)
        # Not counted: the JVM compiles, and the consumer joins its group.
        stream.phase("", 2 * _SETTLE_S)
        phases = [stream.phase(*one) for one in [*plan * rounds, plan[0]]]
        latencies = _latencies(folder / EFFECTS_FILE, stream.others, process)
        return _report(phases, latencies)


class _Stream:
    """Produces at a steady rate; `others`: events so far of keys that are never in trouble."""

    def __init__(self, broker: KafkaBroker, topic: str) -> None:
        self.others = 0
        self._producer: Producer = events.connect(broker, linger_ms=2)
        self._topic = topic
        self._made = self._make()
        self._trouble = ""
        self._stuck = False

    def phase(self, trouble: str, seconds: float) -> _Phase:
        """So much of the stream, after some that does not count."""
        began_s = time.time()
        from_us = int((began_s + _SETTLE_S) * 1e6)
        until_us = from_us + int(seconds * 1e6)
        self._stuck = False
        self._trouble = ""
        if trouble:
            kind = "stuck" if trouble == _STUCK else "failing"
            self._trouble = f"{kind}:{until_us}"
        sent = 0
        while (now_s := time.time()) < until_us / 1e6:
            while sent < (now_s - began_s) * _PER_S:
                events.publish(self._producer, self._topic, next(self._made))
                sent += 1
            self._producer.poll(0)
            time.sleep(_TICK_S)
        return _Phase(trouble, from_us, until_us)

    def _make(self) -> Iterator[Event]:
        draw = random.Random(1)
        number = 0
        while True:
            event = msgspec.structs.replace(
                events.one(number, draw.randrange(_KEYS), draw),
                received_at_us=time.time_ns() // 1000,
            )
            troubled = event.resource_id == TROUBLED
            self.others += not troubled
            # One event is stuck and the later ones wait for it; each of those that fail fails.
            if troubled and self._trouble and not self._stuck:
                self._stuck = self._trouble.startswith("stuck")
                event = msgspec.structs.replace(event, headers={TROUBLE: self._trouble})
            yield event
            number += 1


def _latencies(effects: Path, expected: int, process: Process) -> list[tuple[int, int]]:
    """(produced, time to the effect) of each event, in µs."""
    size = NOTE.size
    deadline = time.monotonic() + 30
    if not effects.exists():
        raise NotBelievable(f"the consumer has applied nothing\n{process.tail()}")
    while effects.stat().st_size < expected * size and time.monotonic() < deadline:
        if not process.running:
            break
        time.sleep(0.1)
    data = effects.read_bytes()
    if len(data) != expected * size:
        raise NotBelievable(
            f"{len(data) // size:,} effects of {expected:,} events\n{process.tail()}"
        )
    return [(produced, done - produced) for produced, done in NOTE.iter_unpack(data)]


def _report(phases: list[_Phase], latencies: list[tuple[int, int]]) -> dict[str, Any]:
    samples: list[list[int]] = [
        sorted(us for produced, us in latencies if phase.from_us <= produced < phase.until_us)
        for phase in phases
    ]
    values: dict[str, dict[str, list[float]]] = {}
    compared: dict[str, dict[str, Any]] = {}
    for trouble in (_STUCK, _FAILING):
        pairs = [
            (sorted(samples[number - 1] + samples[number + 1]), samples[number])
            for number, phase in enumerate(phases)
            if phase.trouble == trouble
        ]
        for name, side in ((f"without, beside '{trouble}'", 0), (trouble, 1)):
            values[name] = {
                field: [_at(pair[side], share) for pair in pairs] for field, _, share in _FIGURES
            }
        compared[trouble] = {
            field: ratios(values[trouble][field], values[f"without, beside '{trouble}'"][field])
            for field, _, _ in _FIGURES
        }
    spreads = {
        name: {field: spread(column) for field, column in of.items()} for name, of in values.items()
    }
    print("\nof the other keys, produce to effect; median (lowest-highest) of the rounds")
    heads = [head for _, head, _ in _FIGURES]
    rows = [[name, *(of[field].text(2) for field, _, _ in _FIGURES)]
            for name, of in spreads.items()]  # fmt: skip
    print(table(["", *heads], rows))
    print("\nratio to without, pair by pair")
    rows = [[name, *(of[field].text(2) for field, _, _ in _FIGURES)]
            for name, of in compared.items()]  # fmt: skip
    print(table(["", *heads], rows))
    print(f"{len(latencies):,} effects of {len(latencies):,} events of the other keys")
    return {
        "figures": {name: plain(of) for name, of in spreads.items()},
        "ratios": {name: plain(of) for name, of in compared.items()},
        "rounds": values,
    }


def _at(samples: list[int], share: float) -> float:
    if not samples:
        raise NotBelievable("a phase has no effects: take longer ones")
    return samples[min(len(samples) - 1, int(len(samples) * share))] / 1000
