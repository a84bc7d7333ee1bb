"""Loads a server over some connections, each with one request in flight, and takes the time."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Final, Protocol

import msgspec

from benchmarks.gateway import own_load, requests
from benchmarks.options import NotBelievable

_SCRIPT: Final = Path(__file__).parent / "load.lua"
_REQUESTS: Final = 4_000


class Loaded(msgspec.Struct, frozen=True):
    """What the load generator saw. `refused`: answers other than 200; `broken`: no answer."""

    answered: int
    duration_us: int
    p50_us: int
    p99_us: int
    refused: int
    broken: int


class Load(Protocol):
    """A load generator."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    def run(self, port: int, connections: int, seconds: int) -> Loaded:
        """Load the server on this port of loopback."""


def find_load(folder: Path, chosen: str) -> Load:
    """wrk, or the one of our own where it is missing; `folder` keeps the requests."""
    made = requests.signed_requests(_REQUESTS)
    wrk = shutil.which("wrk")
    if chosen == "own" or (wrk is None and not chosen):
        if wrk is None:
            print("wrk is not installed (apt-get install wrk): the load comes from Python, which "
                  "takes CPU from the fast and so makes all ratios smaller")  # fmt: skip
        return _Own(made)
    if wrk is None:
        raise NotBelievable("wrk is not installed: apt-get install wrk")
    file = folder / "requests"
    requests.write(file, made)
    return _Wrk(wrk, file)


class _Wrk:
    name = "wrk, 1 thread"

    def __init__(self, program: str, file: Path) -> None:
        self._program = program
        self._file = file
        self._sent = 0

    def run(self, port: int, connections: int, seconds: int) -> Loaded:
        command = [
            self._program, "--threads", "1", "--connections", str(connections),
            "--duration", f"{seconds}s", "--timeout", "10s", "--script", str(_SCRIPT),
            f"http://127.0.0.1:{port}{requests.PATH}", "--", str(self._file), str(self._sent),
        ]  # fmt: skip
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds + 60
        )
        for line in done.stdout.splitlines():
            if line.startswith(b"JSON "):
                loaded = msgspec.json.decode(line[5:], type=Loaded)
                self._sent += loaded.answered
                return loaded
        raise NotBelievable(f"wrk gave no figures: {(done.stdout + done.stderr).decode()}")


class _Own:
    name = "asyncio sockets"

    def __init__(self, made: list[bytes]) -> None:
        self._requests = made

    def run(self, port: int, connections: int, seconds: int) -> Loaded:
        seen = asyncio.run(own_load.run(self._requests, port, connections, seconds))
        times = sorted(seen.latencies_us) or [0]
        return Loaded(
            answered=len(seen.latencies_us),
            duration_us=seen.duration_us,
            p50_us=times[len(times) // 2],
            p99_us=times[len(times) * 99 // 100],
            refused=seen.refused,
            broken=seen.broken,
        )
