"""The consumers that are compared: how each is started, and what it may be held to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import yaml

from benchmarks.consumer.events import PARTITIONS, Log
from benchmarks.rivals import rival_python
from tests.parts.kafka import KafkaBroker
from tests.parts.process import Process, free_port

ROOT: Final = Path(__file__).parents[2]
RAW: Final = "raw consume()"
QUIX: Final = "Quix Streams"
QUIX_LOCAL: Final = "Quix Streams, effects only counted"
FASTSTREAM: Final = "FastStream, batches"
#: Of the slow: enough to measure.
_SOME: Final = 40_000
_FEW: Final = 3_000
_HERE: Final = Path(__file__).parent


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one candidate: what to read, as which group, and where to put effects."""

    broker: KafkaBroker
    log: Log
    group: str
    url: str
    folder: Path
    #: Effects that a candidate has to come to.
    expected: int

    @property
    def progress(self) -> Path:
        """Where the candidate notes how far it is."""
        return self.folder / "progress"

    def environ(self) -> dict[str, str]:
        """What candidates learn of it."""
        return {
            "BENCH_KAFKA": self.broker.bootstrap_servers,
            "BENCH_TOPIC": self.log.topic,
            "BENCH_GROUP": self.group,
            "BENCH_STORE": self.url,
            "BENCH_PROGRESS": str(self.progress),
            "BENCH_EXPECTED": str(self.expected),
            "BENCH_FOLDER": str(self.folder),
            "BENCH_SCHEMA": str(ROOT / "schemas" / "avro" / "event.v1.avsc"),
        }


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer. `store` is sqlite, postgres or empty; only then it has no effects.

    `most`: it is stopped after so many effects, as all would take too long; 0: after all.
    `counts`: what it reports, all messages, or only those that were no copies.
    """

    name: str
    store: str
    start: Callable[[Job], Process]
    most: int = 0
    counts: Literal["messages", "effects"] = "effects"


def all_candidates() -> list[Candidate]:
    """Hookline's, the rivals', and the limit; PartMissing if the rivals cannot be had."""
    python = rival_python(ROOT / "benchmarks" / "consumer_rivals.txt")
    faststream = "faststream_app.py"
    return [
        hookline("sqlite", "batch"),
        hookline("sqlite", "batch", executions="off"),
        hookline("postgres", "batch"),
        script(QUIX, "postgres", python, "quix_app.py", {"QUIX_MODE": "exactly-once"}),
        script(QUIX_LOCAL, "", python, "quix_app.py", {"QUIX_MODE": "local"}),
        script(FASTSTREAM, "postgres", python, faststream, {"FASTSTREAM_BATCH": "5000"}),
        script(RAW, "", Path(sys.executable), "raw.py", {}),
        hookline("sqlite", "single"),
        hookline("postgres", "single"),
        script("FastStream, message by message", "postgres", python, faststream,
               {"FASTSTREAM_BATCH": "0"}, most=_FEW),
    ]  # fmt: skip


def hookline(store: str, kind: str, executions: str = "all") -> Candidate:
    """`hookline consumer`, all settings at their defaults; `kind`: batch or single handlers.

    `executions`: what of the execution log is written.
    """
    name = f"hookline {store}" + ("" if kind == "batch" else ", one by one")
    name += "" if executions == "all" else ", without execution log"

    def start(job: Job) -> Process:
        handlers = f"benchmarks.consumer.handlers:{store}_{kind}"
        return start_hookline(job, handlers, {"executions": {"sample": executions}})

    return Candidate(name=name, store=store, start=start, most=0 if kind == "batch" else _SOME)


def start_hookline(
    job: Job, handlers: str, telemetry: Mapping[str, Any] | None = None, **more: Any
) -> Process:
    """`hookline consumer` with these handlers; `more`: of its settings, where not the default."""
    settings = {
        "environment": "benchmark",
        "kafka": {"bootstrap_servers": job.broker.bootstrap_servers},
        "topics": {"events": job.log.topic, "partitions": PARTITIONS},
        "consumer": {
            "group": job.group,
            "handlers": handlers,
            "store": job.url,
            "listen": f"127.0.0.1:{free_port()}",
            **more,
        },
        "telemetry": dict(telemetry or {}),
    }
    config = job.folder / "hookline.yaml"
    config.write_text(yaml.safe_dump(settings), "utf-8")
    command = [sys.executable, "-m", "hookline.command", "consumer", "--config", str(config)]
    return _process(command, job, {})


def script(
    name: str, store: str, python: Path, file: str, environ: Mapping[str, str], most: int = 0
) -> Candidate:
    """A program of `rivals/`, run by this Python."""

    def start(job: Job) -> Process:
        command = [str(python), str(_HERE / "rivals" / file)]
        return _process(command, job, {"PYTHONPATH": str(_HERE), **environ})

    counts: Literal["messages", "effects"] = "messages" if file == "raw.py" else "effects"
    return Candidate(name=name, store=store, start=start, most=most, counts=counts)


def _process(command: list[str], job: Job, more: Mapping[str, str]) -> Process:
    # As a person starts it: what this shell happens to set of telemetry or Python is left out.
    ours = ("HOOKLINE_", "OTEL_", "PYTHON", "BENCH_")
    environ = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return Process(
        command, job.folder / "log", cwd=ROOT, environ=environ | job.environ() | dict(more)
    )
