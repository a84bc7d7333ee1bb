"""The demo's processes: the real commands, their JSON log lines read as they come."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

Line = tuple[str, dict[str, Any]]


class Child:
    """One `hookline …` process; its lines go to the queue, and what is no JSON to `noise`."""

    def __init__(
        self, name: str, arguments: list[str], environ: Mapping[str, str], lines: queue.Queue[Line]
    ) -> None:
        self.name = name
        self.noise: list[str] = []
        self._lines = lines
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hookline.command", *arguments],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def code(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.poll()

    def stop(self, within_s: float = 20.0) -> int:
        """Ask it to end and wait; its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(within_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(2.0)
        return self._process.returncode

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            try:
                line = json.loads(text)
            except ValueError:
                del self.noise[:-50]
                self.noise.append(text.rstrip())
                continue
            if isinstance(line, dict):
                self._lines.put((self.name, line))


def command_environ(secrets: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with the demo's secrets, and without what would change it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HOOKLINE_")}
    return kept | dict(secrets)
