"""Key Vault's clients, and what their errors come down to, for reading and for writing.

Who we are is azure-identity's DefaultAzureCredential: variables, then workload identity, then
managed identity, then what a developer is logged in to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from credentials.extras import client_module
from credentials.reference import Reference
from credentials.value import detail

T = TypeVar("T")

#: Clients kept, one a vault; beyond, all are let go and made anew.
_MAX_CLIENTS: Final = 64
#: About where we come from, and not about who we are.
_BY_NETWORK: Final = frozenset({"ForbiddenByFirewall", "ForbiddenByConnection"})


class AzureFailure(Exception):
    """A request failed; the text says why, and what to do.

    `status` is of Key Vault's own answer about the secret, 0 where it is about anything else;
    `code` is the innermost of its codes.
    """

    def __init__(self, text: str, status: int = 0, code: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.code = code


class AzureClients:
    """One client a vault, made at the first use. Any thread may use it."""

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

    def ask(self, reference: Reference, request: Callable[[Any], T]) -> T:
        """What `request` makes of the client of the reference's vault; AzureFailure if it fails."""
        errors = client_module("azure.core.exceptions", "azure", reference)
        vault = reference.locator.partition("/")[0]
        failure: AzureFailure
        try:
            return request(self._client(reference, vault))
        except errors.ClientAuthenticationError as error:
            failure = AzureFailure(
                f"Azure does not accept who Hookline is ({_code(error)}); give it a managed or "
                "workload identity (docs/secrets.md)"
            )
        except errors.HttpResponseError as error:
            code, status = _code(error), error.status_code or 0
            about_it = status in (400, 404, 409) or (status == 403 and code not in _BY_NETWORK)
            failure = AzureFailure(
                f"Key Vault cannot answer now ({status} {code})", status if about_it else 0, code
            )
        except (errors.AzureError, ValueError) as error:
            # ValueError: a challenge that names another place than credentials.azure.suffix.
            failure = AzureFailure(
                f"the vault at {vault}.{self._suffix} does not answer ({type(error).__name__}); "
                "check its name, credentials.azure.suffix and the network"
            )
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
