"""Writes to Vault's KV engine, version 2: one secret a name, its value under the key `value`."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from credentials.extras import client_module
from credentials.reference import Reference, parse_reference
from credentials.secret import Secret
from credentials.vault_session import VaultAway, VaultSession, said
from credentials.writing import (
    MARK,
    check_prefix,
    check_writable,
    not_deleted,
    not_deleted_now,
    not_ours,
    not_written,
    not_written_now,
)
from schemas.errors import SecretReferenceError, SecretUnavailable

KEY: Final = "value"
_EXAMPLE: Final = "secret/hookline/connect (a mount, and a path in it)"
#: Two that write the same name at once take turns; more than so many are a fault.
_TRIES: Final = 5
_RIGHTS: Final = (
    "the policy of its role needs create, read and update on its data/ path, and create, read, "
    "update and delete on its metadata/ path (docs/secrets.md has one)"
)


class _Refused(Exception):
    """What is there is not ours, or does not come to rest."""


class VaultWriter:
    """Writes below `prefix`; custom metadata marks what it wrote, and it touches nothing else."""

    scheme = "vault"

    def __init__(self, session: VaultSession, prefix: str) -> None:
        """`prefix` is a mount and a path in it: SecretReferenceError if it is not."""
        self._session = session
        self._prefix = check_prefix(prefix, _EXAMPLE)
        if not session.split(f"{self._prefix}/")[1].strip("/"):
            raise SecretReferenceError(
                f"a whole mount is not Hookline's: name a path in it, as in {_EXAMPLE}"
            )

    def write(self, name: str, secret: Secret) -> str:
        """Its reference, once Vault has a version with it."""
        check_writable(name, secret)
        reference = Reference(self.scheme, f"{self._prefix}/{name}", KEY)
        hvac = client_module("hvac", "vault", reference)
        failure: SecretUnavailable
        try:
            self._session.ask(hvac, lambda client: self._write(hvac, client, reference, secret))
        except VaultAway as error:
            failure = not_written_now(name, str(error))
        except _Refused as error:
            failure = not_written(name, str(error))
        except hvac.exceptions.VaultError as error:
            away = self._session.not_of_secret(hvac, error)
            failure = (
                not_written_now(name, away) if away else not_written(name, _refusal(hvac, error))
            )
        else:
            return str(reference)
        raise failure

    def delete(self, ref: str) -> None:
        """Take away all its versions and its metadata."""
        reference = parse_reference(ref)
        if (
            reference.scheme != self.scheme
            or not reference.locator.startswith(f"{self._prefix}/")
            or reference.key != KEY
        ):
            raise not_ours(ref, f"its place is not {self.scheme}:{self._prefix}/…#{KEY}")
        hvac = client_module("hvac", "vault", reference)
        mount, path = self._session.split(reference.locator)

        def take_away(client: Any) -> bool:
            found = _metadata(hvac, client, mount, path)
            if found is not None and not _marked(found):
                return False
            if found is not None:
                client.secrets.kv.v2.delete_metadata_and_all_versions(path, mount_point=mount)
            return True

        failure: SecretUnavailable
        try:
            ours = self._session.ask(hvac, take_away)
        except VaultAway as error:
            failure = not_deleted_now(ref, str(error))
        except hvac.exceptions.VaultError as error:
            away = self._session.not_of_secret(hvac, error)
            failure = (
                not_deleted_now(ref, away) if away else not_deleted(ref, _refusal(hvac, error))
            )
        else:
            if not ours:
                raise not_ours(ref, "its custom metadata does not say managed-by: hookline")
            return
        raise failure

    def _write(self, hvac: ModuleType, client: Any, reference: Reference, secret: Secret) -> None:
        mount, path = self._session.split(reference.locator)
        kv = client.secrets.kv.v2
        for _ in range(_TRIES):
            found = _metadata(hvac, client, mount, path)
            if found is None:
                # Marked before it holds anything: killed between the two, what is left is ours.
                # An overwritten value is not kept.
                kv.update_metadata(
                    path, mount_point=mount, max_versions=1, custom_metadata=dict(MARK)
                )
            elif not _marked(found):
                raise _Refused(
                    f"what is at {reference.locator} in Vault was not written by Hookline (no "
                    "custom metadata managed-by: hookline); move it, or choose another prefix"
                )
            version = 0 if found is None else found["data"]["current_version"]
            try:
                # Only over what was looked at: nobody else's version is written over.
                kv.create_or_update_secret(
                    path, {KEY: secret.reveal()}, cas=version, mount_point=mount
                )
            except hvac.exceptions.InvalidRequest as error:
                if "check-and-set" not in str(error):
                    raise
            else:
                return
        raise _Refused("somebody else keeps writing to it at the same time; try again")


def _metadata(hvac: ModuleType, client: Any, mount: str, path: str) -> Any:
    try:
        return client.secrets.kv.v2.read_secret_metadata(path, mount_point=mount)
    except hvac.exceptions.InvalidPath as error:
        if not isinstance(error.json, dict) or "errors" not in error.json:
            # The 404 of what stands before Vault.
            raise
        return None


def _marked(found: Any) -> bool:
    custom = found["data"].get("custom_metadata") or {}
    return all(custom.get(name) == value for name, value in MARK.items())


def _refusal(hvac: ModuleType, error: Any) -> str:
    if isinstance(error, hvac.exceptions.Forbidden):
        return f"Vault denies it; {_RIGHTS}"
    if isinstance(error, hvac.exceptions.InvalidPath):
        return "there is no such mount of KV version 2 in Vault; check the prefix"
    return f"Vault cannot make sense of it ({said(error)}); is the mount of KV version 2?"
