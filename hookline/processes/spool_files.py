"""Where the spools of a gateway are: one file for a single process, one for each of its workers."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Final

from hookline.settings.loading import Settings
from producer.publish.spool_file import SpoolFile
from schemas.errors import SpoolLocked

log = logging.getLogger("hookline.spool")

_WORKER: Final = re.compile(r"\.worker-([1-9]\d*)\Z")


def spool_path(path: str, worker: int | None) -> str:
    """The file of this worker; `path` itself for a gateway of one process."""
    return path if worker is None else f"{path}.worker-{worker}"


def spool_files(path: str) -> list[Path]:
    """All that are there, of however many workers: the single process's first."""
    base = Path(path)
    found = [base] if base.exists() else []
    numbered: dict[int, Path] = {}
    if base.parent.is_dir():
        for file in base.parent.iterdir():
            if file.name.startswith(base.name):
                match = _WORKER.fullmatch(file.name[len(base.name) :])
                if match:
                    numbered[int(match[1])] = file
    return found + [numbered[number] for number in sorted(numbered)]


def warn_of_leftovers(settings: Settings) -> None:
    """Say which files hold events that no process of this gateway will drain.

    They are there after `gateway.workers` was changed while Kafka was away.
    """
    path, workers = settings.spool.path, settings.gateway.workers
    if path is None:
        return
    own = {Path(spool_path(path, n)) for n in range(1, workers + 1)}
    if workers == 1:
        own = {Path(path)}
    for file in spool_files(path):
        if file in own:
            continue
        try:
            spool = SpoolFile(file, marks=False)
        except SpoolLocked:
            # Another gateway has it, or somebody drains it now.
            continue
        try:
            events = spool.totals().events
        finally:
            spool.close()
        if events:
            log.error(
                "a spool of another number of workers holds events: `hookline spool drain`, which "
                "may run beside this gateway, puts them on Kafka",
                extra={"data": {"path": str(file), "events": events, "workers": workers}},
            )
