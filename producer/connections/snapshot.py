"""What this gateway last knew of the topic, in a local file, for a start while Kafka is away.

It holds references and no secret. It is replaced as a whole, so a crash leaves the old or the new.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from producer.connections.ledger import Ledger

_FORMAT: Final = 1
_MAX_BYTES: Final = 256 * 1024 * 1024
#: Clocks are put right by so much. Beyond it a snapshot would be young for as long as it is ahead.
_MAX_AHEAD_S: Final = 300.0


class _File(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    environment: str
    topic: str
    current_at_s: float
    records: list[tuple[bytes, bytes]]


class Snapshot:
    """The file at `path`; `max_age_s` is how long ago it may last have agreed with the topic."""

    def __init__(self, path: Path, topic: str, max_age_s: float) -> None:
        self._path = path
        self._topic = topic
        self._max_age_s = max_age_s

    def write(self, environment: str, records: list[tuple[bytes, bytes]], now_s: float) -> None:
        """Replace it; OSError if that fails."""
        data = msgspec.json.encode(
            _File(
                format=_FORMAT,
                environment=environment,
                topic=self._topic,
                current_at_s=now_s,
                records=records,
            )
        )
        folder = self._path.parent
        folder.mkdir(parents=True, exist_ok=True)
        # Another gateway of this machine may share the path: each writes a file of its own first.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{self._path.name}-", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def read(self, environment: str, now_s: float) -> tuple[Ledger, float] | str:
        """What it holds and its age in seconds, or why it may not be used."""
        try:
            if self._path.stat().st_size > _MAX_BYTES:
                return f"{self._path} is over {_MAX_BYTES} bytes"
            found = msgspec.json.decode(self._path.read_bytes(), type=_File)
        except FileNotFoundError:
            return f"there is no snapshot at {self._path} yet"
        except OSError as error:
            return f"{self._path} cannot be read ({error.strerror})"
        except (msgspec.DecodeError, ValueError):
            return f"{self._path} is no snapshot of connections"
        if (found.format, found.topic) != (_FORMAT, self._topic):
            return f"{self._path} is of topic {found.topic}, format {found.format}"
        if found.environment != environment:
            return f"{self._path} is of environment {found.environment}, this one is {environment}"
        age_s = now_s - found.current_at_s
        if age_s < -_MAX_AHEAD_S:
            return (
                f"{self._path} is of {-age_s / 3600:.1f} h from now, so its age is not known: put "
                "the clock right"
            )
        if age_s > self._max_age_s:
            return (
                f"{self._path} last agreed with Kafka {age_s / 3600:.1f} h ago, over "
                f"gateway.snapshot_max_age_ms ({self._max_age_s / 3600:g} h): what was revoked "
                "since is not known"
            )
        ledger = Ledger(environment, access=False)
        for key, value in found.records:
            ledger.apply(key, value, 0)
        ledger.next_offset = 0
        return ledger, max(0.0, age_s)
