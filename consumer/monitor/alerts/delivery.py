"""Sends notifications, each notifier on a thread of its own: one that hangs delays no other.

Bounded: so many wait for each notifier, and each is tried so often; then it is given up, counted
and told in the log. The alert itself stays, and its reminder comes.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from queue import Empty, Full, Queue
from typing import Final

from consumer.monitor.alerts.grouping import Notification
from consumer.monitor.alerts.notifiers import Notifier
from schemas.errors import HandlerError, RetryLater

log = logging.getLogger("hookline.alerts")

MAX_WAITING: Final = 100
#: Pauses before the second try, the third, and so on.
PAUSES_S: Final = (1.0, 5.0, 20.0, 60.0)
_LOOK_S: Final = 0.5


class Delivery:
    """From `start` to `stop`."""

    def __init__(self, notifiers: Sequence[Notifier], pauses_s: Sequence[float] = PAUSES_S) -> None:
        #: By notifier, and `sent`, `failed` or `dropped`.
        self.results: Counter[tuple[str, str]] = Counter()
        self._pauses_s = tuple(pauses_s)
        self._stopping = threading.Event()
        self._queues: list[Queue[Notification]] = []
        self._threads: list[threading.Thread] = []
        for notifier in notifiers:
            for result in ("sent", "failed", "dropped"):
                self.results[notifier.name, result] = 0
            queue: Queue[Notification] = Queue(MAX_WAITING)
            self._queues.append(queue)
            self._threads.append(
                threading.Thread(
                    target=self._run,
                    args=(notifier, queue),
                    name=f"hookline-notify-{notifier.name}",
                    daemon=True,
                )
            )
        self._names = [notifier.name for notifier in notifiers]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def send(self, notification: Notification) -> None:
        """Tell every notifier; returns at once. Where too many wait, the oldest is given up."""
        for name, queue in zip(self._names, self._queues, strict=True):
            while True:
                try:
                    queue.put_nowait(notification)
                    break
                except Full:
                    pass
                try:
                    queue.get_nowait()
                    self.results[name, "dropped"] += 1
                except Empty:
                    pass

    def stop(self, within_s: float = 5.0) -> None:
        """End after what is under way."""
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(within_s)

    def _run(self, notifier: Notifier, queue: Queue[Notification]) -> None:
        while not self._stopping.is_set():
            try:
                notification = queue.get(timeout=_LOOK_S)
            except Empty:
                continue
            self._deliver(notifier, notification)

    def _deliver(self, notifier: Notifier, notification: Notification) -> None:
        for pause_s in (*self._pauses_s, None):
            try:
                notifier.send(notification)
            except RetryLater as error:
                wait_s = None if pause_s is None else max(pause_s, error.after_s or 0.0)
                if wait_s is None or self._stopping.wait(wait_s):
                    self._failed(notifier, notification, str(error))
                    return
            except HandlerError as error:
                self._failed(notifier, notification, str(error))
                return
            # The thread's top: whatever a client of somebody else's raises ends this message only.
            except Exception as error:
                self._failed(notifier, notification, type(error).__name__)
                return
            else:
                self.results[notifier.name, "sent"] += 1
                return

    def _failed(self, notifier: Notifier, notification: Notification, reason: str) -> None:
        self.results[notifier.name, "failed"] += 1
        log.error(
            "an alert could not be told",
            extra={
                "data": {
                    "notifier": notifier.name,
                    "rule": notification.group,
                    "status": notification.status,
                    "reason": reason,
                }
            },
        )
