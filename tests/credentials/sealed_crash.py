"""A program that dies by kill -9 at the n-th call that touches the disk, for each n in turn.

Called with a folder and an operation; prints how many points there were, as the children died.
Each child starts from a copy of the file as it was, in a folder of its own: `n/sealed`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from credentials.sealed_file import SealedFile
from credentials.secret import Secret

WATCHED = ("open", "close", "fsync", "replace", "unlink", "write", "read", "stat", "fstat")


def die_at(n: int) -> None:
    """The n-th call from here on is not made any more."""
    left = n

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for name in WATCHED:
        setattr(os, name, watched(getattr(os, name)))
    fcntl.flock = watched(fcntl.flock)


def main(folder: Path, key: str, operation: str) -> None:
    n = 0
    while True:
        n += 1
        own = folder / str(n)
        own.mkdir()
        shutil.copy(folder / "sealed", own / "sealed")
        child = os.fork()
        if child == 0:
            file = SealedFile(own / "sealed", lambda: Secret(key))
            die_at(n)
            if operation == "write":
                file.write("acme/c/a", Secret("new"))
            elif operation == "delete":
                file.delete("acme/c/a")
            else:
                file.reseal()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            print(n, os.WEXITSTATUS(status))
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
