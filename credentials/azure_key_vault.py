"""`azure-kv:vault/name`: a secret in Azure Key Vault (by azure-keyvault-secrets)."""

from __future__ import annotations

from credentials.azure_clients import AzureClients, AzureFailure
from credentials.reference import Reference
from credentials.secret import Secret
from credentials.value import away, text_value, unavailable
from schemas.errors import SecretUnavailable


class AzureKeyVaultBackend:
    """Reads the newest version.

    A secret that is not there, is disabled, or is denied is an answer about it, a revocation;
    everything else, a refusal by its network's rules too, is BackendAway.
    """

    scheme = "azure-kv"

    def __init__(self, clients: AzureClients) -> None:
        self._clients = clients

    def fetch(self, reference: Reference) -> Secret:
        """The secret's value."""
        name = reference.locator.partition("/")[2]
        failure: SecretUnavailable
        try:
            value = self._clients.ask(reference, lambda client: client.get_secret(name).value)
        except AzureFailure as error:
            failure = _explain(reference, error)
        else:
            return text_value(reference, "" if value is None else value)
        raise failure


def _explain(reference: Reference, error: AzureFailure) -> SecretUnavailable:
    code = error.code
    match error.status:
        case 404:
            return unavailable(reference, f"there is no such secret ({code}); check vault and name")
        case 403 if code == "SecretDisabled":
            return unavailable(reference, "it is disabled in Key Vault; enable it or name another")
        case 403:
            return unavailable(
                reference,
                f"Key Vault denies it ({code}); Hookline's identity needs the role Key Vault "
                "Secrets User on it (docs/secrets.md)",
            )
        case 400:
            return unavailable(
                reference, f"Key Vault cannot make sense of it ({code}); check the name"
            )
    return away(reference, str(error))
