"""The port of a backend that Hookline may write to: for what the connect flow collects."""

from __future__ import annotations

from typing import Protocol

from credentials.secret import Secret


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

        SecretUnavailable, with the next step and without the value, if it is not kept for sure.
        """

    def delete(self, ref: str) -> None:
        """Take it away, with all its versions; nothing happens if it is not there.

        SecretUnavailable if it may still be there; SecretReferenceError if it was not written
        here: what others put there is not ours to take away.
        """
