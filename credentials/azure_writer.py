"""Writes to Azure Key Vault: one secret a name, marked by tags.

A name there has up to 127 letters, digits and dashes, in which capitals do not count, so ours are
mapped: what can be read of it in front, and a digest of the whole behind, which tells them apart.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

from credentials.azure_clients import AzureClients, AzureFailure
from credentials.reference import Reference, parse_reference
from credentials.secret import Secret
from credentials.writing import (
    MARK,
    check_writable,
    not_deleted,
    not_deleted_now,
    not_ours,
    not_written,
    not_written_now,
)
from schemas.errors import SecretReferenceError, SecretUnavailable

MAX_SECRET_BYTES: Final = 25_000
_MAX_NAME_CHARS: Final = 127
_DIGEST_CHARS: Final = 32
#: How long a deletion or a recovery may take there before we say that it is not done.
_WAIT_S: Final = 30.0
#: The tag that says which name of ours it is.
_NAME_TAG: Final = "hookline-name"
_PREFIX: Final = re.compile(r"(?P<vault>[A-Za-z0-9-]{1,24})/(?P<front>[A-Za-z0-9-]{1,60})")
_RIGHTS: Final = (
    "Hookline's identity needs to get, set, delete, recover and purge secrets there "
    "(docs/secrets.md has the role)"
)


class _Refused(Exception):
    """What is there is not ours."""


class AzureKeyVaultWriter:
    """Writes to one vault, names that start with a prefix; touches only what its tags mark."""

    scheme = "azure-kv"

    def __init__(self, clients: AzureClients, prefix: str) -> None:
        """`prefix` is vault/what names start with: SecretReferenceError if it is not."""
        match = _PREFIX.fullmatch(prefix)
        if match is None:
            raise SecretReferenceError(
                "a prefix in Key Vault is the vault's name, / and what names start with (letters, "
                "digits and dashes, up to 60), as in acme-vault/hookline"
            )
        self._clients = clients
        self._vault, self._front = match["vault"], match["front"]

    def write(self, name: str, secret: Secret) -> str:
        """Its reference, once Key Vault has it as the newest version."""
        check_writable(name, secret, MAX_SECRET_BYTES)
        there = self._name(name)
        reference = Reference(self.scheme, f"{self._vault}/{there}")
        failure: SecretUnavailable
        try:
            self._write(reference, there, name, secret)
        except AzureFailure as error:
            if error.status == 403:
                failure = not_written(name, f"Key Vault denies it ({error.code}); {_RIGHTS}")
            elif error.status == 400:
                failure = not_written(name, f"Key Vault cannot make sense of it ({error.code})")
            elif error.status == 409:
                failure = not_written_now(
                    name,
                    f"a secret of this name is being deleted or recovered there ({error.code}); "
                    "try again in a minute",
                )
            else:
                failure = not_written_now(name, str(error))
        except _Refused as error:
            failure = not_written(name, str(error))
        else:
            return str(reference)
        raise failure

    def delete(self, ref: str) -> None:
        """Delete it with all its versions, and purge it where the vault lets one do that."""
        reference = parse_reference(ref)
        vault, _, there = reference.locator.partition("/")
        if (
            reference.scheme != self.scheme
            or vault.lower() != self._vault.lower()
            or not there.startswith(f"{self._front}-")
        ):
            raise not_ours(ref, f"its place is not {self.scheme}:{self._vault}/{self._front}-…")
        failure: SecretUnavailable
        try:
            found = self._tags(reference, there)
            if found is not None:
                self._check_marked(ref, found, there)
                self._clients.ask(
                    reference, lambda client: client.begin_delete_secret(there).wait(_WAIT_S)
                )
            deleted = self._deleted(reference, there)
            if deleted is not None:
                self._check_marked(ref, deleted, there)
                self._purge(reference, there)
        except AzureFailure as error:
            if error.status == 403:
                failure = not_deleted(ref, f"Key Vault denies it ({error.code}); {_RIGHTS}")
            else:
                failure = not_deleted_now(ref, str(error))
        else:
            return
        raise failure

    def _write(self, reference: Reference, there: str, name: str, secret: Secret) -> None:
        found = self._tags(reference, there)
        if found is not None:
            _check_ours(found, name)
        elif (deleted := self._deleted(reference, there)) is not None:
            # Deleted where it cannot be purged: the name is free only by having it again.
            _check_ours(deleted, name)
            self._clients.ask(
                reference, lambda client: client.begin_recover_deleted_secret(there).wait(_WAIT_S)
            )
        tags = {**MARK, _NAME_TAG: name}
        self._clients.ask(
            reference, lambda client: client.set_secret(there, secret.reveal(), tags=tags)
        )

    def _purge(self, reference: Reference, there: str) -> None:
        def purge(client: Any) -> None:
            level = client.get_deleted_secret(there).properties.recovery_level or ""
            # Without it the vault is protected from purging: it goes by itself, and cannot be read
            # until then.
            if "Purgeable" in level:
                client.purge_deleted_secret(there)

        try:
            self._clients.ask(reference, purge)
        except AzureFailure as error:
            # Purged by another since.
            if error.status != 404:
                raise

    def _name(self, name: str) -> str:
        # Of the name alone: what is written under one prefix is never under another.
        digest = hashlib.blake2b(name.encode(), digest_size=_DIGEST_CHARS // 2).hexdigest()
        shown = re.sub(r"[^a-z0-9]+", "-", name)
        room = _MAX_NAME_CHARS - len(self._front) - _DIGEST_CHARS - 2
        return f"{self._front}-{shown[:room].strip('-')}-{digest}"

    def _check_marked(self, ref: str, tags: dict[str, str], there: str) -> None:
        if not _marked(tags) or self._name(tags.get(_NAME_TAG, "")) != there:
            raise not_ours(ref, "its tags do not say managed-by: hookline")

    def _tags(self, reference: Reference, there: str) -> dict[str, str] | None:
        """The tags of what is there now; None if nothing is."""
        return self._found(reference, lambda client: client.get_secret(there).properties.tags)

    def _deleted(self, reference: Reference, there: str) -> dict[str, str] | None:
        """The tags of what is there, deleted and not gone; None if nothing is."""
        return self._found(
            reference, lambda client: client.get_deleted_secret(there).properties.tags
        )

    def _found(self, reference: Reference, request: Any) -> dict[str, str] | None:
        try:
            return self._clients.ask(reference, request) or {}
        except AzureFailure as error:
            if error.status == 404:
                return None
            raise


def _check_ours(tags: dict[str, str], name: str) -> None:
    if not _marked(tags) or tags.get(_NAME_TAG) != name:
        raise _Refused(
            "what has its name in Key Vault was not written by Hookline (its tags do not say "
            "managed-by: hookline); rename it, or choose another prefix"
        )


def _marked(tags: dict[str, str]) -> bool:
    return all(tags.get(key) == value for key, value in MARK.items())
