"""The gateway's way into Kafka, simulated: real publisher, sink, spool and SQLite file, a Kafka
that fails, a disk that fails, and a kill -9 between any two steps. A seed decides everything.

`python -m tests.publish.spool_simulation 1000 2000` runs these seeds and prints what each found.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from confluent_kafka import KafkaError

from producer.publish import gathering as gathering_module
from producer.publish import publisher as publisher_module
from producer.publish.publisher import KafkaPublisher
from producer.publish.spool import Spool
from producer.publish.spool_file import Change, SpoolFile
from producer.publish.spooling_sink import Circuit, SpoolingSink
from schemas.errors import PublishError, SpoolFailed
from tests.publish.fake_kafka import POISON, FakeCluster, FakeProducer
from tests.publish.moody_gathering import MoodyGathering
from tests.publish.virtual_loop import VirtualLoop

KEYS = [b"key-%d" % n for n in range(4)]
LANES_OF_A_KEY = 2
EVENTS_OF_A_LANE = 25
LIVES = 4


class Killed(KeyboardInterrupt):
    """kill -9: nothing of ours runs after it."""


class Breach(AssertionError):
    """A promise was broken."""


class Script:
    """What this seed does to the process."""

    def __init__(self, seed: int) -> None:
        draw = self.draw = Random(seed)
        self.kills = draw.random() < 0.7
        self.refusals = draw.random() < 0.3
        self.fatal = draw.random() < 0.15
        self.disk_fails = draw.random() < 0.3
        self.poison = draw.random() < 0.3
        self.small = draw.random() < 0.2
        self.disk_broken = False
        self.steps_left = 0
        self.calm = False

    def step(self) -> None:
        """Between any two steps the process may be killed."""
        if self.calm or not self.kills:
            return
        self.steps_left -= 1
        if self.steps_left <= 0:
            raise Killed


class FlakyFile(SpoolFile):
    """A file on a disk that fails, before or after the commit, and a process that may be killed."""

    def __init__(self, path: Path, script: Script) -> None:
        super().__init__(path, synchronous="OFF")
        self._script = script

    def write(self, change: Change) -> None:
        script = self._script
        script.step()
        if script.disk_broken and script.draw.random() < 0.7:
            raise SpoolFailed("disk full")
        super().write(change)
        script.step()
        if script.disk_broken and script.draw.random() < 0.3:
            raise SpoolFailed("input/output error")

    def read(self, after: int, max_events: int, max_bytes: int) -> Any:
        if self._script.disk_broken and self._script.draw.random() < 0.3:
            raise SpoolFailed("input/output error")
        return super().read(after, max_events, max_bytes)


class SteppingProducer(FakeProducer):
    """As the fake, and the process may be killed before and after each call."""

    script: Script

    def produce(self, *arguments: Any, **named: Any) -> None:
        self.script.step()
        super().produce(*arguments, **named)
        self.script.step()


class Lane:
    """One sender: the next event when this one is answered 200, else this one again."""

    def __init__(self, name: str, key: bytes, poison: set[int]) -> None:
        self.key = key
        self.values = [
            (POISON if n in poison else b"") + f"{name}:{n}".encode()
            for n in range(EVENTS_OF_A_LANE)
        ]
        self.at = 0


class World:
    """Everything that outlives the process."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.script = Script(seed)
        self.draw = self.script.draw
        self.path = folder / "spool.db"
        self.loop: VirtualLoop | None = None
        self._past_s = 0.0
        self.cluster = FakeCluster(self.draw, self.now_s)
        self.lanes = [
            Lane(
                f"{key.decode()}/{n}",
                key,
                {self.draw.randrange(EVENTS_OF_A_LANE)} if self.script.poison else set(),
            )
            for key in KEYS
            for n in range(LANES_OF_A_KEY)
        ]
        self._tick = 0
        #: When each value was first called for, and when it was answered 200.
        self.called: dict[bytes, int] = {}
        self.answered: dict[bytes, int] = {}
        self.first_try: set[bytes] = set()
        self.tries: Counter[bytes] = Counter()
        self.refused_tries = 0
        self.lives = 0
        self.closed_circuits = 0
        self.most_spooled = 0

    def now_s(self) -> float:
        return self._past_s + (self.loop.time() if self.loop is not None else 0.0)

    def tick(self) -> int:
        self._tick += 1
        return self._tick

    # One life of the process.

    def live(self, last: bool) -> None:
        script = self.script
        self.lives += 1
        script.calm = False
        script.steps_left = script.draw.choice((20, 200, 2_000, 6_000))
        self.loop = VirtualLoop(script.step)
        self.cluster.clock_s = self.loop.time
        asyncio.set_event_loop(self.loop)
        made: list[FakeProducer] = []

        def produce_to(settings: dict[str, Any], **_: Any) -> FakeProducer:
            producer = SteppingProducer(self.cluster, settings)
            producer.script = script
            made.append(producer)
            return producer

        files: list[SpoolFile] = []
        try:
            # Every third seed gathers as under load, which eight senders do not make.
            rate = 5.0 if self.seed % 3 == 0 else gathering_module._RATE_FOR_A_MS
            with (
                patch.object(publisher_module, "Producer", produce_to),
                patch.object(gathering_module, "_RATE_FOR_A_MS", rate),
            ):
                self.loop.run_until_complete(self._process(last, files, made))
        except Killed:
            pass
        finally:
            for task in asyncio.all_tasks(self.loop):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            for file in files:
                file._db.close()
            for producer in made:
                self.cluster.killed(producer)
            self._past_s += self.loop.time()
            asyncio.set_event_loop(None)

    async def _process(self, last: bool, files: list[SpoolFile], made: list[FakeProducer]) -> None:
        loop = asyncio.get_running_loop()
        script, draw = self.script, self.draw

        def later(turn: Callable[[], None]) -> None:
            loop.call_later(draw.choice((0.0, 0.001, 0.02, 0.2)), turn)

        file = FlakyFile(self.path, script)
        files.append(file)
        spool = Spool(file, max_bytes=6_000 if script.small else 1_000_000, run=later)
        sink = SpoolingSink(
            spool, window_events=draw.choice((1, 5, 50)), window_bytes=draw.choice((200, 100_000))
        )
        ended = asyncio.Event()
        publisher = KafkaPublisher(
            bootstrap_servers="fake",
            topics=("events",),
            ack_deadline_s=0.2,
            max_in_flight_events=draw.choice((4, 1_000)),
            fatal=lambda reason: ended.set(),
            fallback=sink,
            clock_s=loop.time,
        )
        publisher._probes.shutdown()
        publisher._gathering = MoodyGathering(loop, publisher._produce, 0.02, draw)
        sink.start(publisher)
        moods = asyncio.ensure_future(self._moods(last, ended, made))
        lanes = [asyncio.ensure_future(self._send(lane, sink)) for lane in self.lanes]
        watch = asyncio.ensure_future(self._watch(sink))
        if last:
            done = asyncio.ensure_future(asyncio.wait(lanes))
            fatal = asyncio.ensure_future(ended.wait())
            await asyncio.wait([done, fatal], return_when=asyncio.FIRST_COMPLETED)
            until_s = loop.time() + 600
            while not ended.is_set() and (sink.circuit is not Circuit.CLOSED or spool.events):
                await asyncio.sleep(0.05)
                if loop.time() > until_s:
                    raise Breach(f"not drained: {state(sink)}")
        else:
            await asyncio.wait(
                [moods, asyncio.ensure_future(ended.wait())], return_when=asyncio.FIRST_COMPLETED
            )
        for task in (moods, watch):
            task.cancel()
        # A graceful stop, with senders that still want something.
        clean = await sink.close(0.5)
        await asyncio.sleep(0.01)
        for lane in lanes:
            lane.cancel()
        if sink.overtaken:
            raise Breach("the drain saw a record overtaken")
        if spool.events < 0:
            raise Breach("an event was counted out of the spool twice")
        if not clean and not script.disk_fails:
            raise Breach("a graceful stop that is not clean")

    async def _watch(self, sink: SpoolingSink) -> None:
        before = sink.circuit
        while True:
            await asyncio.sleep(0.01)
            if sink.circuit is Circuit.CLOSED and before is not Circuit.CLOSED:
                self.closed_circuits += 1
            before = sink.circuit
            self.most_spooled = max(self.most_spooled, sink.spool.events)

    async def _send(self, lane: Lane, sink: SpoolingSink) -> None:
        draw = self.draw
        while lane.at < len(lane.values):
            value = lane.values[lane.at]
            await asyncio.sleep(draw.choice((0.0, 0.001, 0.01, 0.1, 0.5)))
            self.tries[value] += 1
            self.called.setdefault(value, self.tick())
            try:
                answer = sink.publish("events", lane.key, value, [("n", b"1")])
                # In every fourth seed senders go away, and come back with the same.
                leaves_s = draw.choice((0.05, 0.25, 0.35)) if self.seed % 4 == 0 else None
                await asyncio.wait_for(answer, leaves_s)
            except TimeoutError:
                continue
            except PublishError:
                self.refused_tries += 1
                if value.startswith(POISON):
                    lane.at += 1
                continue
            self.answered[value] = self.tick()
            if self.tries[value] == 1:
                self.first_try.add(value)
            lane.at += 1

    async def _moods(self, last: bool, ended: asyncio.Event, made: list[FakeProducer]) -> None:
        draw, cluster, script = self.draw, self.cluster, self.script
        for _ in range(3 if last else draw.randrange(1, 12)):
            await asyncio.sleep(draw.choice((0.05, 0.3, 1.0, 3.0)))
            cluster.haunt()
            mood = draw.randrange(8)
            cluster.up = mood not in (0, 1, 2)
            cluster.acks_lost = mood == 3
            cluster.stuck = {0} if mood == 7 else set()
            cluster.delay_s = 0.3 if mood == 4 else draw.choice((0.0, 0.002, 0.05))
            cluster.refusing = (
                KafkaError.TOPIC_AUTHORIZATION_FAILED if script.refusals and mood == 5 else None
            )
            made[-1].fatal_next = script.fatal and mood == 6
            script.disk_broken = script.disk_fails and draw.random() < 0.3
        await asyncio.sleep(0.1)
        if last:
            cluster.up, cluster.acks_lost, cluster.refusing = True, False, None
            cluster.stuck = set()
            cluster.delay_s, script.disk_broken, script.calm = 0.002, False, True
            made[-1].fatal_next = False
            await ended.wait()

    # The judge.

    def judge(self) -> str:
        log: defaultdict[bytes, list[bytes]] = defaultdict(list)
        records: Counter[bytes] = Counter()
        for partition in self.cluster.log.values():
            for key, value in partition:
                records[value] += 1
                if records[value] == 1:
                    log[key].append(value)
        file = SpoolFile(self.path)
        refused = {row[0] for row in file._db.execute("SELECT value FROM refused")}
        left = file.totals().events
        file.close()
        lost = set(self.answered) - set(records) - refused
        if lost:
            raise Breach(f"lost: {sorted(lost)}")
        if left:
            raise Breach(f"{left} left in the spool")
        if any(not value.startswith(POISON) for value in refused):
            raise Breach("an innocent record was set aside")
        for values in log.values():
            place = {value: n for n, value in enumerate(values)}
            answered = [value for value in values if value in self.answered]
            for later in answered:
                for earlier in answered:
                    if (
                        self.answered[earlier] < self.called[later]
                        and place[earlier] > place[later]
                    ):
                        raise Breach(f"{later!r} is before {earlier!r}, answered before its call")
            # Also of those under way at the same time, where none had to be sent again.
            calls = [self.called[value] for value in answered if value in self.first_try]
            if calls != sorted(calls) and not self.script.disk_fails and not self.script.small:
                raise Breach("events of a key are not in the order of their calls")
        twice = sum(records.values()) - len(records)
        sent_again = sum(self.tries.values()) - len(self.tries)
        if twice and not self.script.refusals and self.lives == 1 and not sent_again:
            raise Breach(f"{twice} duplicates without a kill")
        return (
            f"seed {self.seed}: {self.lives} lives, {len(self.answered)} answered, "
            f"{self.refused_tries} refused, spooled up to {self.most_spooled}, "
            f"closed {self.closed_circuits} times, {twice} twice in the log, "
            f"{len(refused)} set aside"
        )


def state(sink: SpoolingSink) -> str:
    """Where a drain that does not end stands."""
    drain, spool = sink._drain, sink.spool
    return (
        f"{sink.circuit}, {spool.events} events, {spool.uncommitted} uncommitted, "
        f"{drain.in_flight} in flight, {drain.failed} failed, {drain.read_events} read up to "
        f"{sink._read_to} of {spool.last_number}, halted {drain.halted}, reading {sink._reading}, "
        f"Kafka {sink._publisher.ready()}, disk {spool.problem!r}"
    )


def simulate(seed: int) -> tuple[World, str]:
    """Run one seed; Breach if a promise is broken."""
    logging.getLogger("hookline.publish").setLevel(logging.CRITICAL + 1)
    logging.getLogger("hookline.spool").setLevel(logging.CRITICAL + 1)
    with tempfile.TemporaryDirectory(prefix="hookline-spool-") as folder:
        world = World(seed, Path(folder))
        lives = world.draw.randrange(1, LIVES + 1)
        for life in range(lives):
            world.live(last=life == lives - 1)
        # Killed in its last life: one more, without.
        for _ in range(20):
            if all(lane.at == len(lane.values) for lane in world.lanes) and not _left(world.path):
                break
            world.script.kills = False
            world.live(last=True)
        return world, world.judge()


def _left(path: Path) -> int:
    file = SpoolFile(path)
    try:
        return file.totals().events
    finally:
        file.close()


if __name__ == "__main__":
    first, end = int(sys.argv[1]), int(sys.argv[2])
    for seed in range(first, end):
        try:
            world, said = simulate(seed)
        except BaseException as error:
            print(f"seed {seed}: {type(error).__name__}: {error}")
            continue
        if len(sys.argv) > 3:
            print(said)
