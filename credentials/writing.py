"""The port of a backend that Hookline may write to: for what the connect flow collects."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol

from credentials.secret import Secret
from credentials.value import MAX_SECRET_BYTES
from schemas.errors import BackendAway, SecretReferenceError, SecretUnavailable

#: What a writer marks what it wrote with, where there is a place for a mark.
MARK: Final = {"managed-by": "hookline"}
MAX_PART_CHARS: Final = 63
_PART: Final = r"(?!\.\.?(?:/|$))[a-z0-9._-]{1,63}"
_NAME: Final = re.compile(rf"{_PART}/{_PART}/{_PART}")
_PREFIX: Final = re.compile(r"(?:(?!\.\.?(?:/|$))[A-Za-z0-9._-]{1,63}(?:/(?!$)|$))+")


class SecretWriter(Protocol):
    """A place for secrets that are given to us. It passes the suite in tests/credentials.

    Both methods wait for a network or a disk, and are for threads. `name` has the form
    `tenant/connection/field` (parts of `[a-z0-9._-]`); a writer puts it below a prefix of its own.
    """

    @property
    def scheme(self) -> str:
        """What its references start with, without the colon."""

    def write(self, name: str, secret: Secret) -> str:
        """Keep it, in place of an older one of this name, durably; its reference, which the
        reading backend of this scheme resolves from now on, in every process.

        A process that has resolved this reference before may see the older value until its cache
        asks again (credentials.cache.ttl_ms), so a secret that replaces one in use, as a rotation
        does, gets a field of its own (`signing-2`), and is there for all at once.

        SecretUnavailable, with the next step and without the value, if it is not kept for sure;
        BackendAway, which is one, if it may help to try again.
        """

    def delete(self, ref: str) -> None:
        """Take it away, with all its versions; nothing happens if it is not there.

        SecretUnavailable if it may still be there; SecretReferenceError if it was not written
        here: what others put there is not ours to take away.
        """


class WatchedWriter:
    """A writer whose secrets are kept out of the logs, and whose changes this process sees."""

    def __init__(
        self,
        writer: SecretWriter,
        *,
        on_secret: Callable[[Secret], None],
        on_changed: Callable[[str], None],
    ) -> None:
        """`on_secret` sees each value first, `on_changed` the reference behind each change."""
        self._writer = writer
        self._on_secret = on_secret
        self._on_changed = on_changed

    @property
    def scheme(self) -> str:
        """The writer's."""
        return self._writer.scheme

    def write(self, name: str, secret: Secret) -> str:
        """As the writer does."""
        self._on_secret(secret)
        ref = self._writer.write(name, secret)
        self._on_changed(ref)
        return ref

    def delete(self, ref: str) -> None:
        """As the writer does."""
        try:
            self._writer.delete(ref)
        finally:
            # Also if it may still be there: what is known of it is no longer sure.
            self._on_changed(ref)


def check_prefix(prefix: str, example: str) -> str:
    """`prefix`, if it can stand before a name; SecretReferenceError otherwise."""
    if _PREFIX.fullmatch(prefix) is None:
        raise SecretReferenceError(
            "it is made of letters, digits, dots, dashes and underscores, with / between its "
            f"parts, as in {example}"
        )
    return prefix


def check_writable(name: str, secret: Secret, max_bytes: int = MAX_SECRET_BYTES) -> None:
    """SecretReferenceError if the name, SecretUnavailable if the value is none that can be kept."""
    if _NAME.fullmatch(name) is None:
        # Not quoted: what is written in the wrong place may be the value.
        raise SecretReferenceError(
            "a secret's name to write is tenant/connection/field, each of up to "
            f"{MAX_PART_CHARS} small letters, digits, dots, dashes and underscores"
        )
    value = secret.reveal()
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        size = -1
    if size < 0:
        raise not_written(name, "it is not UTF-8 text; give it as base64")
    if size == 0:
        raise not_written(name, "it is empty; enter a value")
    if size > max_bytes:
        raise not_written(
            name, f"it has {size} bytes, {max_bytes} can be kept; is it the right one?"
        )


def not_written(name: str, why: str) -> SecretUnavailable:
    """There was an answer, and it is not kept."""
    return SecretUnavailable(f"secret {name} cannot be written: {why}")


def not_written_now(name: str, why: str) -> BackendAway:
    """It is not known to be kept; trying again may help."""
    return BackendAway(f"secret {name} cannot be written: {why}")


def not_deleted(ref: str, why: str) -> SecretUnavailable:
    """There was an answer, and it is still there."""
    return SecretUnavailable(f"{ref} cannot be deleted: {why}")


def not_deleted_now(ref: str, why: str) -> BackendAway:
    """It may still be there; trying again may help."""
    return BackendAway(f"{ref} cannot be deleted: {why}")


def not_ours(ref: str, why: str) -> SecretReferenceError:
    """It was not written here."""
    return SecretReferenceError(f"{ref} was not written by Hookline ({why}), so it is not deleted")
