"""The gateway under a steady load for minutes: does its memory stay where it was?

A fixed rate below what it can do, real Kafka, all settings at their defaults. One answer other
than 200 fails the run.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections import Counter
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from statistics import linear_regression, median
from typing import Any, Final

from benchmarks.gateway import candidates, requests
from benchmarks.options import NotBelievable, Options
from benchmarks.process_usage import cpu_us, rss_bytes
from tests.parts.kafka import VERSION, KafkaBroker

_RATE: Final = 500
_EVERY_S: Final = 10.0
_ANSWER_S: Final = 30.0
#: Kafka keeps no more of each partition: a soak must not fill the disk.
_KEPT_BYTES: Final = 32 * 1024 * 1024


class _Seen:
    """What all connections saw together."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.late_s = 0.0


def run(options: Options) -> dict[str, Any]:
    """Measure, print, and return the figures; NotBelievable if an answer was not 200."""
    minutes = options.chosen("minutes", 10, 1)
    rate = options.rate or _RATE
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hookline-bench-")))
        broker = stack.enter_context(KafkaBroker())
        kept = {"retention_bytes": str(_KEPT_BYTES), "segment_bytes": str(_KEPT_BYTES // 4)}
        server = candidates.gateway(broker, folder, **kept)
        stack.callback(server.stop)
        print(
            f"{minutes} min at {rate} requests/s over {options.connections} connections; Kafka "
            f"{VERSION}, one broker",
            flush=True,
        )
        memory = _Memory(server.process.pid)
        memory.start()
        stack.callback(memory.stop)
        used_us = cpu_us(server.process.pid)
        seen = asyncio.run(_load(server.port, options.connections, rate, 60.0 * minutes))
        used_us = cpu_us(server.process.pid) - used_us
        memory.stop()
        return _report(seen, memory.samples_mb, used_us, candidates.records(broker, server.topic))


class _Memory(threading.Thread):
    """Looks at once, and every 10 s from then on."""

    def __init__(self, pid: int) -> None:
        super().__init__(name="memory", daemon=True)
        self.samples_mb: list[float] = []
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        while True:
            self.samples_mb.append(rss_bytes(self._pid) / 1e6)
            if self._ended.wait(_EVERY_S):
                return

    def stop(self) -> None:
        """No more samples."""
        self._ended.set()
        self.join()


async def _load(port: int, connections: int, rate: int, seconds: float) -> _Seen:
    loop = asyncio.get_running_loop()
    seen = _Seen()
    source = cycle(requests.signed_requests(4_000))
    began_s = loop.time()

    async def connection(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due_s = began_s + number / rate
        try:
            while due_s < began_s + seconds:
                await asyncio.sleep(due_s - loop.time())
                seen.late_s = max(seen.late_s, loop.time() - due_s)
                writer.write(next(source))
                async with asyncio.timeout(_ANSWER_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                    await reader.readexactly(int(length))
                seen.statuses[head.split(b" ", 2)[1].decode()] += 1
                due_s += connections / rate
        except (OSError, TimeoutError, ValueError, IndexError, EOFError) as error:
            seen.statuses[f"broken: {type(error).__name__}"] += 1
        finally:
            writer.close()

    await asyncio.gather(*(connection(number) for number in range(connections)))
    return seen


def _report(seen: _Seen, samples_mb: list[float], used_us: int, kept: int) -> dict[str, Any]:
    third = max(1, len(samples_mb) // 3)
    first, last = median(samples_mb[:third]), median(samples_mb[-third:])
    # The first third fills caches and pools: it is no leak.
    settled = samples_mb[third:] if len(samples_mb) - third > 1 else samples_mb
    times_h = [number * _EVERY_S / 3600 for number in range(len(settled))]
    slope = linear_regression(times_h, settled).slope if len(settled) > 1 else 0.0
    answered = sum(seen.statuses.values())
    print(
        f"RSS every {_EVERY_S:.0f} s, {len(samples_mb)} times: {samples_mb[0]:.1f} MB at the "
        f"start, median of the first third {first:.1f} MB, of the last {last:.1f} MB; slope over "
        f"the last two thirds {slope:+.1f} MB/hour"
    )
    print("answers: " + ", ".join(f"{n:,} of {status}" for status, n in seen.statuses.items()))
    print(
        f"{used_us / max(1, answered):.0f} CPU µs a webhook; {kept:,} records in Kafka; the load "
        f"was up to {seen.late_s * 1000:.0f} ms late"
    )
    if set(seen.statuses) != {"200"}:
        raise NotBelievable(f"not every answer was 200: {dict(seen.statuses)}")
    if kept < answered:
        raise NotBelievable(f"answered {answered} with 200, Kafka has {kept}")
    return {
        "rss_mb": samples_mb,
        "first_third_mb": first,
        "last_third_mb": last,
        "slope_mb_per_hour": slope,
        "answers": dict(seen.statuses),
        "records": kept,
        "late_ms": seen.late_s * 1000,
    }
