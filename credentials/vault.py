"""`vault:mount/path#key`: one key of a secret in Vault's KV engine, version 2 (by hvac)."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from credentials.extras import client_module
from credentials.reference import Reference
from credentials.secret import Secret
from credentials.value import away, text_value, unavailable
from credentials.vault_session import VaultAway, VaultSession, said
from schemas.errors import SecretUnavailable


class VaultBackend:
    """Reads the newest version.

    404 and 403 are answers about the secret, a revocation, if they are Vault's own and not those of
    what stands before it. Whatever is about the way there (no connection, sealed, too many
    requests, our own log-in refused) is BackendAway.
    """

    scheme = "vault"

    def __init__(self, session: VaultSession) -> None:
        self._session = session

    def fetch(self, reference: Reference) -> Secret:
        """The key's value in the newest version."""
        hvac = client_module("hvac", "vault", reference)
        mount, path = self._session.split(reference.locator)
        failure: SecretUnavailable
        try:
            answer = self._session.ask(
                hvac,
                lambda client: client.secrets.kv.v2.read_secret_version(
                    path, mount_point=mount, raise_on_deleted_version=True
                ),
            )
        except VaultAway as error:
            failure = away(reference, str(error))
        except hvac.exceptions.VaultError as error:
            failure = self._explain(hvac, reference, error)
        else:
            return self._value(reference, answer)
        raise failure

    def _explain(self, hvac: ModuleType, reference: Reference, error: Any) -> SecretUnavailable:
        if why := self._session.not_of_secret(hvac, error):
            return away(reference, why)
        known = hvac.exceptions
        if isinstance(error, known.InvalidPath):
            if _deleted(error.json):
                return unavailable(
                    reference, "its newest version is deleted in Vault; write a new one"
                )
            hint = (
                "leave data/ out of the path"
                if "/data/" in reference.locator
                else "check mount and path"
            )
            return unavailable(reference, f"there is no such secret in Vault; {hint}")
        if isinstance(error, known.Forbidden):
            return unavailable(
                reference,
                "Vault denies it; the policy of Hookline's role needs read on its mount's "
                "data/ path (docs/secrets.md has one)",
            )
        return unavailable(
            reference,
            f"Vault cannot make sense of it ({said(error)}); is the mount of KV version 2?",
        )

    def _value(self, reference: Reference, answer: Any) -> Secret:
        if not isinstance(answer, dict):
            raise away(reference, self._session.no_vault())
        data = answer["data"].get("data") if isinstance(answer.get("data"), dict) else None
        if not isinstance(data, dict):
            raise unavailable(
                reference, "what is there is no secret of KV version 2; check mount and path"
            )
        if reference.key not in data:
            raise unavailable(
                reference, f"the secret has no key {reference.key}; add it or name another"
            )
        return text_value(reference, data[reference.key])


def _deleted(answer: Any) -> bool:
    try:
        return bool(answer["data"]["metadata"]["deletion_time"])
    except (KeyError, TypeError):
        return False
