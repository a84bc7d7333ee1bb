"""An event loop whose time jumps to the next timer: hours in milliseconds, each run the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class VirtualLoop(asyncio.SelectorEventLoop):
    """Executors run inline. `stepped` is called before each pass of the loop."""

    def __init__(self, stepped: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._now_s = 1_000.0
        self._stepped = stepped

    def time(self) -> float:
        return self._now_s

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _run_once(self) -> None:
        self._stepped()
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self._now_s = max(self._now_s, self._scheduled[0]._when)  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]
