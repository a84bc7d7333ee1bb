"""A server process of a test: never outlives the test run, and is ended by its own id."""

from __future__ import annotations

import atexit
import ctypes
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CHOICE = random.Random()
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now.

    Not one that the kernel chooses: those are also the ports of outgoing connections, of which one
    may have it before the server that it is meant for listens.
    """
    for _ in range(100):
        port = _CHOICE.randrange(12_000, 32_000)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port was found in a hundred tries")


class Process:
    """One server process, its output in `log_path`."""

    def __init__(
        self,
        command: Sequence[str],
        log_path: Path,
        *,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.log_path = log_path
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd,
                env=dict(environ) if environ is not None else None,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        atexit.register(self.kill)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        self._end(signal.SIGKILL, 10)

    def stop(self, timeout_s: float = 20) -> int:
        """Ask it to end; after the time-out kill it. Its exit code."""
        self._end(signal.SIGTERM, timeout_s)
        return self._process.returncode

    def wait_until(self, ready: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
        """Wait for readiness; if it ends or takes too long, an error with the log's tail."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not self.running:
                raise RuntimeError(f"{what} ended at once:\n{self.tail()}")
            if ready():
                return
            time.sleep(0.05)
        raise RuntimeError(f"{what} was not ready in {timeout_s} s:\n{self.tail()}")

    def tail(self, lines: int = 30) -> str:
        """The last lines of its output."""
        text = self.log_path.read_text("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])

    def _end(self, with_signal: signal.Signals, timeout_s: float) -> None:
        if self._process.poll() is None:
            self._process.send_signal(with_signal)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        atexit.unregister(self.kill)
