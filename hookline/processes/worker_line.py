"""The line between the gateway's supervisor and a worker: a socket pair, health and metrics.

The supervisor asks and the worker answers; and each end sees at once when the other's process is
gone, however it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

import msgspec

log = logging.getLogger("hookline.gateway")

Check = tuple[bool, str]

_HEAD: Final = struct.Struct("!II")
_HEALTH: Final = b"health\n"
_METRICS: Final = b"metrics\n"
#: The first thing that a worker says: it listens on this line now.
_GREETING: Final = 0
#: A worker that takes longer is not live; Kubernetes gives its probes 1 s.
ANSWER_S: Final = 2.0
_LOOP_S: Final = 1.5
#: A page of metrics of some thousand connections has a few MB.
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024


class Health(msgspec.Struct, frozen=True):
    """What a worker says of itself."""

    live: Check
    ready: Check
    listening: bool


class NoAnswer(Exception):
    """The worker did not answer; `starting` while it has never been heard on this line."""

    def __init__(self, reason: str, *, starting: bool = False) -> None:
        super().__init__(reason)
        self.starting = starting


class WorkerEnd:
    """The worker's: answers on a thread of its own, and asks the loop how it is."""

    def __init__(
        self,
        line: socket.socket,
        *,
        health: Callable[[], Health],
        metrics: Callable[[], bytes],
        orphaned: Callable[[], None],
        end_within_s: float,
    ) -> None:
        """`orphaned` is called on the loop when the supervisor is gone.

        The process ends after `end_within_s` from then, also when its loop hangs: a worker without
        a supervisor must not keep its share of the port's connections.
        """
        self._loop = asyncio.get_running_loop()
        self._line = line
        self._health = health
        self._metrics = metrics
        self._orphaned = orphaned
        self._end_within_s = end_within_s

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._serve, name="worker-line", daemon=True).start()

    def _serve(self) -> None:
        try:
            self._send(_GREETING, b"")
            with self._line.makefile("rb") as asked:
                while head := asked.read(_HEAD.size):
                    number, size = _HEAD.unpack(head)
                    self._send(number, self._answer(asked.read(size)))
        except (OSError, struct.error):
            pass
        # A loop that is closed already is one that needs not be told.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._orphaned)
        time.sleep(self._end_within_s)
        os._exit(1)

    def _answer(self, question: bytes) -> bytes:
        """On the thread, whose top this is."""
        try:
            if question == _METRICS:
                return self._metrics()
            asked: Future[Health] = Future()
            self._loop.call_soon_threadsafe(lambda: asked.set_result(self._health()))
            return msgspec.json.encode(asked.result(_LOOP_S))
        except TimeoutError:
            reason = "the event loop does not answer"
        except RuntimeError:
            reason = "the event loop has ended"
        except Exception:
            log.exception("a question of the supervisor could not be answered")
            reason = "it cannot say"
        return msgspec.json.encode(Health((False, reason), (False, reason), True))

    def _send(self, number: int, answer: bytes) -> None:
        self._line.sendall(_HEAD.pack(number, len(answer)) + answer)


class SupervisorEnd:
    """The supervisor's; from any thread, one question at a time."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._asked = 0
        #: It has said something: its loop runs, and takes signals.
        self.heard = False
        self._received = bytearray()

    def health(self) -> Health:
        """How the worker is; NoAnswer."""
        return msgspec.json.decode(self._ask(_HEALTH), type=Health)

    def metrics(self) -> bytes:
        """Its page of metrics; NoAnswer."""
        page = self._ask(_METRICS)
        if page.startswith(b"{"):
            raise NoAnswer("has no metrics to show")
        return page

    def close(self) -> None:
        """The worker is gone."""
        self._line.close()

    def _ask(self, question: bytes) -> bytes:
        with self._lock:
            try:
                if not self.heard and not select.select([self._line], [], [], 0)[0]:
                    raise NoAnswer("is starting", starting=True)
                self._asked += 1
                self._line.settimeout(ANSWER_S)
                self._line.sendall(_HEAD.pack(self._asked, len(question)) + question)
                until_s = time.monotonic() + ANSWER_S
                while True:
                    number, answer = self._next(until_s)
                    self.heard = True
                    # Others are the greeting, or answers that came too late.
                    if number == self._asked:
                        return answer
            except TimeoutError:
                raise NoAnswer(f"did not answer in {ANSWER_S:.0f} s") from None
            except (OSError, ValueError):
                raise NoAnswer("has ended") from None

    def _next(self, until_s: float) -> tuple[int, bytes]:
        # What is half received when the time is up stays, and is gone on with.
        self._fill(_HEAD.size, until_s)
        number, size = _HEAD.unpack_from(self._received)
        if size > _MAX_ANSWER_BYTES:
            raise OSError("this is no worker's answer")
        self._fill(_HEAD.size + size, until_s)
        answer = bytes(self._received[_HEAD.size : _HEAD.size + size])
        del self._received[: _HEAD.size + size]
        return number, answer

    def _fill(self, size: int, until_s: float) -> None:
        while len(self._received) < size:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._line.settimeout(left_s)
            data = self._line.recv(1 << 20)
            if not data:
                raise OSError("the line is closed")
            self._received += data
