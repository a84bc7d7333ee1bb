"""The memory for all request bodies together, from their first byte until their answer."""

from __future__ import annotations


class Bodies:
    """A budget in bytes. Used on one event loop."""

    def __init__(self, *, max_body_bytes: int, max_held_bytes: int) -> None:
        """`max_body_bytes` is the limit of each, `max_held_bytes` of all."""
        self.max_body_bytes = max_body_bytes
        self._max_held_bytes = max_held_bytes
        self.held_bytes = 0

    def take(self, size_bytes: int) -> bool:
        """Reserve memory; False if all of it is in use. Give it back with `release`."""
        if self.held_bytes + size_bytes > self._max_held_bytes:
            return False
        self.held_bytes += size_bytes
        return True

    def release(self, size_bytes: int) -> None:
        """A body is no longer needed."""
        self.held_bytes -= size_bytes
