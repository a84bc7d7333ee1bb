"""`sealed:tenant/connection/field`: a secret in a file of ours, for those who have no Vault."""

from __future__ import annotations

from credentials.reference import Reference, parse_reference
from credentials.sealed_file import SealedFile, SealedFileUnusable
from credentials.secret import Secret
from credentials.value import away, text_value, unavailable
from credentials.writing import (
    check_prefix,
    check_writable,
    not_deleted_now,
    not_ours,
    not_written_now,
)
from schemas.errors import BackendAway, SecretReferenceError, SecretUnavailable


class SealedBackend:
    """Reads from the file as it is now.

    That there is no secret of a name is an answer about it; a file that is not there, was sealed
    with another key or is damaged is BackendAway.
    """

    scheme = "sealed"

    def __init__(self, file: SealedFile) -> None:
        self._file = file

    def fetch(self, reference: Reference) -> Secret:
        """The value."""
        failure: SecretUnavailable
        try:
            found = self._file.read(reference.locator)
        except SealedFileUnusable as error:
            failure = away(reference, str(error))
        else:
            if found is not None:
                return text_value(reference, found.reveal())
            failure = unavailable(
                reference, "there is no such secret in the sealed file; was it deleted?"
            )
        raise failure


class SealedWriter:
    """Writes to the file, below `prefix` if there is one. All that is in it was written so."""

    scheme = "sealed"

    def __init__(self, file: SealedFile, prefix: str = "") -> None:
        self._file = file
        if prefix != prefix.lower():
            raise SecretReferenceError(
                "it has capitals; write small letters, as in hookline/connect"
            )
        self._prefix = f"{check_prefix(prefix, 'hookline/acme')}/" if prefix else ""

    def write(self, name: str, secret: Secret) -> str:
        """Its reference, once it is on the disk."""
        check_writable(name, secret)
        failure: BackendAway
        try:
            self._file.write(f"{self._prefix}{name}", secret)
        except SealedFileUnusable as error:
            failure = not_written_now(name, str(error))
        else:
            return f"{self.scheme}:{self._prefix}{name}"
        raise failure

    def delete(self, ref: str) -> None:
        """Take it out of the file."""
        reference = parse_reference(ref)
        if reference.scheme != self.scheme or not reference.locator.startswith(self._prefix):
            raise not_ours(ref, f"its place is not below {self.scheme}:{self._prefix}")
        failure: BackendAway
        try:
            self._file.delete(reference.locator)
        except SealedFileUnusable as error:
            failure = not_deleted_now(ref, str(error))
        else:
            return
        raise failure
