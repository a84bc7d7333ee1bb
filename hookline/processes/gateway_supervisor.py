"""Starts the workers of a gateway, starts one again that has ended, and ends all together.

It takes no webhook itself and touches no file of theirs: what it knows of them comes over a line to
each (`hookline.processes.worker_line`).
"""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Final

from hookline.processes.gateway_worker import STOP_MARGIN_S
from hookline.processes.health_server import HealthServer
from hookline.processes.worker_line import Check, Health, NoAnswer, SupervisorEnd
from hookline.processes.worker_metrics import gauge, merged
from hookline.settings.loading import Settings
from schemas import metrics as names
from schemas.errors import ConfigurationError

log = logging.getLogger("hookline.gateway")

_LOOK_S: Final = 0.1
#: Until a worker is started again: doubled with each end, and small again after a good minute.
_FIRST_BACKOFF_S: Final = 0.5
_LAST_BACKOFF_S: Final = 30.0
_GOOD_S: Final = 60.0
#: A worker that has not been heard for so long after its start is not live.
_START_S: Final = 60.0
#: What a worker ends with that its settings do not let start (`hookline.command`).
_CONFIGURATION: Final = 2


class _Slot:
    """The place of one worker, and the process that has it now."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.line: SupervisorEnd | None = None
        self.starts = 0
        self.started_s = 0.0
        self.backoff_s = 0.0
        self.restart_at_s = 0.0
        self.last = "is not started yet"


class Supervisor:
    """Runs `command` with the options of a worker so many times as the settings say."""

    def __init__(self, settings: Settings, command: Sequence[str]) -> None:
        self._gateway = settings.gateway
        self._command = list(command)
        self._slots = [_Slot(number) for number in range(1, self._gateway.workers + 1)]
        self._stop = threading.Event()

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit code: 0 if all workers ended cleanly.

        ConfigurationError if a port cannot be had. If a worker's settings do not let it start the
        first time, it has said why, and this ends with its code, as one process would.
        """
        refuse_taken(self._gateway.listen)
        host, _, port = self._gateway.admin_listen.rpartition(":")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        with HealthServer(
            host.strip("[]") or "0.0.0.0",
            int(port),
            live=self.live,
            ready=self.ready,
            metrics=self.metrics,
            setting="gateway.admin_listen",
        ):
            for slot in self._slots:
                self._start(slot)
            log.info(
                "supervisor started",
                extra={
                    "data": {
                        "listen": self._gateway.listen,
                        "admin_listen": self._gateway.admin_listen,
                        "workers": len(self._slots),
                    }
                },
            )
            given_up: int | None = None
            while given_up is None and not self._stop.wait(_LOOK_S):
                for slot in self._slots:
                    given_up = given_up or self._look(slot)
            self._stop.set()
            clean = self._end()
        log.info("supervisor stopped", extra={"data": {"clean": clean}})
        return given_up if given_up is not None else 0 if clean else 1

    def live(self) -> Check:
        """Whether every worker that runs is; one that is to be started again does no harm."""
        bad = []
        for slot, health in self._asked():
            if isinstance(health, Health):
                if not health.live[0]:
                    bad.append(f"worker {slot.number}: {health.live[1]}")
            elif slot.process is not None and not (
                health.starting and time.monotonic() - slot.started_s < _START_S
            ):
                bad.append(f"worker {slot.number} {health}")
        return not bad, "; ".join(bad)

    def ready(self) -> Check:
        """Whether every worker that takes connections is ready, and there is one."""
        if self._stop.is_set():
            return False, "stopping"
        good, bad, away = [], [], []
        for slot, health in self._asked():
            if not isinstance(health, Health):
                away.append(f"worker {slot.number} {health}")
            elif not health.listening:
                away.append(f"worker {slot.number} is not ready yet: {health.ready[1]}")
            elif not health.ready[0]:
                bad.append(f"worker {slot.number}: {health.ready[1]}")
            else:
                good.append(f"worker {slot.number}: {health.ready[1]}" if health.ready[1] else "")
        if good and not bad:
            return True, "; ".join(filter(None, good + away))
        return False, "; ".join(bad + away)

    def metrics(self) -> bytes:
        """Those of all workers, each sample with its worker."""
        pages, up = [], {}
        for slot in self._slots:
            up[slot.number] = 0
            line = slot.line
            if line is not None:
                try:
                    pages.append(line.metrics())
                    up[slot.number] = 1
                except NoAnswer:
                    # worker_up says it; the page of the others is still wanted.
                    pass
        restarts = {slot.number: max(0, slot.starts - 1) for slot in self._slots}
        pages.append(gauge(names.WORKER_UP, "1 if the worker answers.", up))
        pages.append(
            gauge(
                f"{names.WORKER_RESTARTS}_total", "Times it was started again.", restarts, "counter"
            )
        )
        return merged(pages)

    def _asked(self) -> list[tuple[_Slot, Health | NoAnswer]]:
        found: list[tuple[_Slot, Health | NoAnswer]] = []
        for slot in self._slots:
            line = slot.line
            try:
                if line is None:
                    raise NoAnswer(slot.last)
                found.append((slot, line.health()))
            except NoAnswer as problem:
                found.append((slot, problem))
        return found

    def _start(self, slot: _Slot) -> None:
        ours, theirs = socket.socketpair()
        options = ["--worker", str(slot.number), "--line", str(theirs.fileno())]
        slot.starts += 1
        slot.started_s = time.monotonic()
        try:
            # No preexec_fn: there are threads here. That it ends with us, the line sees to.
            process = subprocess.Popen(
                [*self._command, *options], stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),)
            )
        except OSError as error:
            ours.close()
            self._ended(slot, f"cannot be started ({error.strerror})")
            return
        finally:
            theirs.close()
        slot.process, slot.line = process, SupervisorEnd(ours)
        log.info(
            "worker started",
            extra={"data": {"worker": slot.number, "pid": process.pid, "start": slot.starts}},
        )

    def _look(self, slot: _Slot) -> int | None:
        """Start it again when it is time to; the exit code if all is to end."""
        if slot.process is None:
            if time.monotonic() >= slot.restart_at_s:
                self._start(slot)
            return None
        code = slot.process.poll()
        if code is None:
            return None
        self._let_go(slot)
        if code == _CONFIGURATION and slot.starts == 1:
            return code
        self._ended(slot, f"ended with {_told(code)}")
        return None

    def _ended(self, slot: _Slot, how: str) -> None:
        now_s = time.monotonic()
        again = slot.backoff_s and now_s - slot.started_s < _GOOD_S
        slot.backoff_s = min(_LAST_BACKOFF_S, 2 * slot.backoff_s) if again else _FIRST_BACKOFF_S
        slot.restart_at_s = now_s + slot.backoff_s
        slot.last = how
        log.error(
            "a worker has ended and will be started again: it drains the spool that is left",
            extra={"data": {"worker": slot.number, "how": how, "in_s": slot.backoff_s}},
        )

    def _let_go(self, slot: _Slot) -> None:
        line, slot.line, slot.process = slot.line, None, None
        if line is not None:
            line.close()

    def _end(self) -> bool:
        """Ask all that run to end, and wait; whether all were there and did so cleanly."""
        running = [slot for slot in self._slots if slot.process is not None]
        for slot in running:
            assert slot.process is not None
            slot.process.send_signal(signal.SIGTERM)
        until_s = time.monotonic() + self._gateway.shutdown_deadline_ms / 1000 + STOP_MARGIN_S
        clean = len(running) == len(self._slots)
        for slot in running:
            process, line = slot.process, slot.line
            assert process is not None
            assert line is not None
            try:
                code = process.wait(max(0.0, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            # One that had not begun has nothing to end.
            if code != 0 and not (code == -signal.SIGTERM and not line.heard):
                clean = False
                log.error(
                    "a worker did not end cleanly",
                    extra={"data": {"worker": slot.number, "how": f"ended with {_told(code)}"}},
                )
            self._let_go(slot)
        return clean


def refuse_taken(listen: str) -> None:
    """ConfigurationError if somebody listens on this address: workers would share it with them."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]") or "0.0.0.0"
    if int(port) == 0:
        raise ConfigurationError("gateway.listen: name a port, since the workers share it")
    try:
        places = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in places:
            with socket.socket(family, kind, protocol) as trying:
                trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    trying.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trying.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"gateway.listen: {host}:{port} cannot be listened on "
            f"({error.strerror or error}); choose another port or stop what uses it"
        ) from error


def _told(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
