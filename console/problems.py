"""What goes wrong on a page, as a page: what it was, and what to do next."""

from __future__ import annotations


class Problem(Exception):
    """Ends a request with an error page of this status, title and next step."""

    def __init__(self, status: int, title: str, next_step: str) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.next_step = next_step


def not_found(what: str, next_step: str) -> Problem:
    """404."""
    return Problem(404, what, next_step)


def not_understood(what: str, next_step: str) -> Problem:
    """400."""
    return Problem(400, what, next_step)
