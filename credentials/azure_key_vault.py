"""`azure-kv:vault/name`: a secret in Azure Key Vault (by azure-keyvault-secrets).

Who we are is azure-identity's DefaultAzureCredential: variables, then workload identity, then
managed identity, then what a developer is logged in to.
"""

from __future__ import annotations

import threading
from typing import Any, Final

from credentials.extras import client_module
from credentials.reference import Reference
from credentials.secret import Secret
from credentials.value import away, detail, text_value, unavailable
from schemas.errors import SecretUnavailable

#: Clients kept, one a vault; beyond, all are let go and made anew.
_MAX_CLIENTS: Final = 64
#: About where we come from, and not about who we are.
_BY_NETWORK: Final = frozenset({"ForbiddenByFirewall", "ForbiddenByConnection"})


class AzureKeyVaultBackend:
    """Reads the newest version.

    A secret that is not there, is disabled, or is denied is an answer about it, a revocation;
    everything else, a refusal by its network's rules too, is BackendAway.
    """

    scheme = "azure-kv"

    def __init__(
        self,
        *,
        suffix: str = "vault.azure.net",
        timeout_s: float = 5.0,
        credential: Any = None,
    ) -> None:
        """`suffix`: what follows the vault's name in its address, another in other clouds."""
        self._suffix = suffix
        self._timeout_s = timeout_s
        self._credential = credential
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}

    def fetch(self, reference: Reference) -> Secret:
        """The secret's value."""
        errors = client_module("azure.core.exceptions", "azure", reference)
        vault, _, name = reference.locator.partition("/")
        failure: SecretUnavailable
        try:
            value = self._client(reference, vault).get_secret(name).value
        except errors.ClientAuthenticationError as error:
            failure = away(
                reference,
                f"Azure does not accept who Hookline is ({_code(error)}); give it a managed or "
                "workload identity (docs/secrets.md)",
            )
        except errors.HttpResponseError as error:
            failure = _explain(reference, error)
        except (errors.AzureError, ValueError) as error:
            # ValueError: a challenge that names another place than credentials.azure.suffix.
            failure = away(
                reference,
                f"the vault at {vault}.{self._suffix} does not answer ({type(error).__name__}); "
                "check its name, credentials.azure.suffix and the network",
            )
        else:
            return text_value(reference, "" if value is None else value)
        raise failure

    def _client(self, reference: Reference, vault: str) -> Any:
        secrets = client_module("azure.keyvault.secrets", "azure", reference)
        with self._lock:
            if self._credential is None:
                identity = client_module("azure.identity", "azure", reference)
                self._credential = identity.DefaultAzureCredential()
            if vault not in self._clients:
                if len(self._clients) >= _MAX_CLIENTS:
                    self._clients.clear()
                self._clients[vault] = secrets.SecretClient(
                    f"https://{vault}.{self._suffix}",
                    self._credential,
                    connection_timeout=self._timeout_s,
                    read_timeout=self._timeout_s,
                    retry_total=1,
                )
            return self._clients[vault]


def _explain(reference: Reference, error: Any) -> SecretUnavailable:
    code = _code(error)
    if error.status_code == 404:
        return unavailable(reference, f"there is no such secret ({code}); check vault and name")
    if error.status_code == 403 and code == "SecretDisabled":
        return unavailable(reference, "it is disabled in Key Vault; enable it or name another")
    if error.status_code == 403 and code not in _BY_NETWORK:
        return unavailable(
            reference,
            f"Key Vault denies it ({code}); Hookline's identity needs the role Key Vault Secrets "
            "User on it (docs/secrets.md)",
        )
    if error.status_code == 400:
        return unavailable(reference, f"Key Vault cannot make sense of it ({code}); check the name")
    return away(reference, f"Key Vault cannot answer now ({error.status_code} {code})")


def _code(error: Any) -> str:
    """The innermost code of an error's answer, which is the telling one, or its type's name."""
    found = type(error).__name__
    part = getattr(error, "error", None)
    for _ in range(5):
        if part is None:
            break
        code = part.get("code") if isinstance(part, dict) else getattr(part, "code", None)
        found = str(code) if code else found
        part = (
            part.get("innererror") if isinstance(part, dict) else getattr(part, "innererror", None)
        )
    return detail(found)
