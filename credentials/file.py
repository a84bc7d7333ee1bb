"""`file:/path`: a secret in a file, as Kubernetes and Docker mount them.

The file is read whole and fresh each time, so a replaced mount counts at the next refresh.
"""

from __future__ import annotations

import logging
import os
import stat
from typing import Final

from credentials.reference import Reference
from credentials.secret import Secret
from schemas.errors import SecretUnavailable

MAX_SECRET_BYTES: Final = 64 * 1024

_log = logging.getLogger("hookline.credentials")


class FileBackend:
    """Reads a regular file of at most 64 KiB of UTF-8, less one line end at its end."""

    scheme = "file"

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def fetch(self, reference: Reference) -> Secret:
        """The file's text; SecretUnavailable says what is wrong with the file."""
        path = reference.locator
        try:
            # Not blocking: opening a pipe that nobody writes to would wait for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise _unavailable(
                reference, "there is no such file; check the path and the mount"
            ) from error
        except PermissionError as error:
            raise _unavailable(
                reference,
                f"the user that this process runs as (uid {os.geteuid()}) may not read it; "
                "change its owner or mode",
            ) from error
        except (OSError, ValueError) as error:
            raise _unavailable(
                reference, f"{_reason(error)}; check the path and the mount"
            ) from error
        try:
            data = self._read(descriptor, reference)
        finally:
            os.close(descriptor)
        return _decode(data, reference)

    def _read(self, descriptor: int, reference: Reference) -> bytes:
        # The open file is judged, not the path: the two may differ by the time it is read.
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise _unavailable(reference, "it is a directory; name the file in it")
        if not stat.S_ISREG(status.st_mode):
            raise _unavailable(reference, "it is not a regular file; put the secret into one")
        if status.st_mode & stat.S_IWOTH:
            raise _unavailable(
                reference, "everyone may write to it, so anyone could swap the secret; chmod o-rwx"
            )
        if status.st_mode & stat.S_IROTH and reference.locator not in self._warned:
            self._warned.add(reference.locator)
            _log.warning(
                "Every user of this machine can read a secret's file; chmod o-r it",
                extra={"data": {"path": reference.locator}},
            )
        data = b""
        try:
            while len(data) <= MAX_SECRET_BYTES:
                chunk = os.read(descriptor, MAX_SECRET_BYTES + 1 - len(data))
                if not chunk:
                    return data
                data += chunk
        except OSError as error:
            raise _unavailable(
                reference, f"{_reason(error)}; try again or check the disk"
            ) from error
        raise _unavailable(
            reference, f"it is larger than {MAX_SECRET_BYTES} bytes; is it the right file?"
        )


def _decode(data: bytes, reference: Reference) -> Secret:
    # One line end, which editors and `echo` add; more of them belong to the secret.
    data = data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\n") else data
    if not data:
        raise _unavailable(reference, "it is empty; write the secret's value into it")
    try:
        return Secret(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    # Raised outside the except block: the original error holds the whole value, and would stay
    # reachable as this one's context.
    raise _unavailable(reference, "it is not UTF-8 text; store binary secrets as base64")


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "the path is not valid"


def _unavailable(reference: Reference, why: str) -> SecretUnavailable:
    return SecretUnavailable(f"{reference} cannot be read: {why}")
