"""Where real parts are kept between runs: a folder outside the repository, keyed by version."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class PartMissing(Exception):
    """A real part cannot be had; the message says what to install."""


def cache_dir() -> Path:
    """`HOOKLINE_PARTS`, or a folder in the user's cache."""
    chosen = os.environ.get("HOOKLINE_PARTS")
    return Path(chosen) if chosen else Path.home() / ".cache" / "hookline" / "parts"


def built(name: str, build: Callable[[Path], None]) -> Path:
    """The folder of a part, built first if it is not there; whole or not at all."""
    target = cache_dir() / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.with_suffix(".lock")):
        if not target.exists():
            draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"{name}.draft-"))
            try:
                build(draft)
                draft.rename(target)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
    return target


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
