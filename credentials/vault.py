"""`vault:mount/path#key`: one key of a secret in Vault's KV engine, version 2 (by hvac)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from credentials.extras import client_module
from credentials.reference import Reference
from credentials.secret import Secret
from credentials.value import away, detail, text_value, unavailable
from credentials.vault_login import VaultLogin
from schemas.errors import SecretError, SecretUnavailable

#: We log in again when this part of a token's time is over.
_RENEW_AT: Final = 0.8


class _LogInRefused(Exception):
    """Vault, or our own part of the log-in, says no; nothing is known of any secret."""


class VaultBackend:
    """Reads with a token that it gets itself and replaces before it ends.

    404 and 403 are answers about the secret, a revocation, if they are Vault's own and not those of
    what stands before it. Whatever is about the way there (no connection, sealed, too many
    requests, our own log-in refused) is BackendAway.
    """

    scheme = "vault"

    def __init__(
        self,
        *,
        address: str,
        login: VaultLogin,
        namespace: str | None = None,
        ca_file: str | None = None,
        mounts: Sequence[str] = (),
        timeout_s: float = 5.0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`mounts`: those with a slash in their name; of any other the reference's first part."""
        self._address = address
        self._login = login
        self._namespace = namespace
        self._ca_file = ca_file
        self._mounts = sorted((mount.strip("/") for mount in mounts), key=len, reverse=True)
        self._timeout_s = timeout_s
        self._now_s = now_s
        # One request at a time: a requests session is not made for several threads, and two
        # log-ins at once would leave a token behind.
        self._lock = threading.Lock()
        self._client: Any = None
        self._log_in_at_s: float | None = None
        # How often there was no answer at all, and why the last time.
        self._unanswered = 0
        self._why = ""

    def fetch(self, reference: Reference) -> Secret:
        """The key's value in the newest version."""
        hvac = client_module("hvac", "vault", reference)
        failure: SecretUnavailable
        unanswered = self._unanswered
        with self._lock:
            if self._unanswered != unanswered:
                # Nor would this be answered: several that queue here must not each wait for it.
                raise away(reference, self._why)
            try:
                return self._value(reference, self._answer(hvac, reference))
            except SecretError:
                raise
            except _LogInRefused as error:
                failure = away(reference, str(error))
            except hvac.exceptions.VaultError as error:
                failure = self._explain(hvac, reference, error)
            # The client stumbles over JSON that is not of Vault's form.
            except (AttributeError, KeyError, TypeError):
                failure = away(reference, self._no_vault())
            # All of the client's own, and a CA file that is not there.
            except OSError as error:
                self._unanswered += 1
                self._why = (
                    f"Vault at {self._address} does not answer ({type(error).__name__}); check "
                    "credentials.vault.address and ca_file, the network and the certificate"
                )
                failure = away(reference, self._why)
        raise failure

    def _answer(self, hvac: Any, reference: Reference) -> Any:
        client = self._client
        if client is None:
            client = self._client = hvac.Client(
                url=self._address,
                # Not None: it would look for one in the environment and the home folder.
                token="",
                namespace=self._namespace,
                verify=self._ca_file or True,
                timeout=self._timeout_s,
            )
        fresh = False
        if not client.token or (
            self._log_in_at_s is not None and self._now_s() >= self._log_in_at_s
        ):
            self._log_in(hvac, client)
            fresh = True
        try:
            return self._read(client, reference)
        except hvac.exceptions.Forbidden:
            # The secret's policy, or a token that ended before its time: revoked, used up, or
            # forgotten by a Vault that was set up anew.
            if (fresh and self._login.fresh) or _token_counts(hvac, client):
                raise
        before = client.token
        self._log_in(hvac, client)
        if client.token == before:
            raise _LogInRefused(
                "Vault no longer takes the token of credentials.vault.token; put a new one there"
            )
        return self._read(client, reference)

    def _read(self, client: Any, reference: Reference) -> Any:
        mount, _, path = reference.locator.partition("/")
        for known in self._mounts:
            if reference.locator.startswith(f"{known}/"):
                mount, path = known, reference.locator.removeprefix(f"{known}/")
                break
        return client.secrets.kv.v2.read_secret_version(
            path, mount_point=mount, raise_on_deleted_version=True
        )

    def _log_in(self, hvac: Any, client: Any) -> None:
        client.token = ""
        at_s = self._now_s()
        try:
            lease_s = self._login.log_in(client)
        except SecretError as error:
            raise _LogInRefused(f"Hookline cannot log in to Vault: {error}") from None
        except hvac.exceptions.VaultError as error:
            raise _LogInRefused(
                f"Vault at {self._address} refuses Hookline's log-in "
                f"({_said(error)}); check "
                "credentials.vault and the role there"
            ) from None
        except (KeyError, TypeError):
            raise _LogInRefused(self._no_vault()) from None
        self._log_in_at_s = None if lease_s is None else at_s + lease_s * _RENEW_AT

    def _explain(self, hvac: Any, reference: Reference, error: Any) -> SecretUnavailable:
        known = hvac.exceptions
        path = reference.locator
        if not _of_vault(error.json):
            # A proxy, an ingress without its Vault, a page that says that it will be back.
            return away(reference, f"{self._no_vault()} ({type(error).__name__})")
        if isinstance(error, known.InvalidPath):
            if _deleted(error.json):
                return unavailable(
                    reference, "its newest version is deleted in Vault; write a new one"
                )
            hint = "leave data/ out of the path" if "/data/" in path else "check mount and path"
            return unavailable(reference, f"there is no such secret in Vault; {hint}")
        if isinstance(error, known.Forbidden):
            return unavailable(
                reference,
                "Vault denies it; the policy of Hookline's role needs read on its mount's "
                "data/ path (docs/secrets.md has one)",
            )
        said = _said(error)
        if isinstance(error, known.InvalidRequest):
            return unavailable(
                reference, f"Vault cannot make sense of it ({said}); is the mount of KV version 2?"
            )
        return away(reference, f"Vault at {self._address} cannot answer now ({said})")

    def _value(self, reference: Reference, answer: Any) -> Secret:
        if not isinstance(answer, dict):
            raise away(reference, self._no_vault())
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

    def _no_vault(self) -> str:
        return (
            f"what answers at {self._address} is no Vault; check credentials.vault.address and "
            "what stands before it"
        )


def _token_counts(hvac: Any, client: Any) -> bool:
    try:
        client.auth.token.lookup_self()
    except hvac.exceptions.Forbidden:
        return False
    return True


def _deleted(answer: Any) -> bool:
    try:
        return bool(answer["data"]["metadata"]["deletion_time"])
    except (KeyError, TypeError):
        return False


def _of_vault(answer: Any) -> bool:
    """Whether a refusal is Vault's own, all of which say `errors`, or for a deleted one `data`."""
    return isinstance(answer, dict) and ("errors" in answer or "data" in answer)


def _said(error: Any) -> str:
    found = error.errors if isinstance(error.errors, list) else [error.errors or ""]
    return detail(", ".join(map(str, found)) or type(error).__name__)
