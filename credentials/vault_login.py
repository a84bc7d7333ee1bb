"""How Hookline shows Vault who it is: a token, an AppRole, or a Kubernetes service account.

What is shown is read anew at each log-in, so that a replaced token file or secret id counts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from credentials.secret import Secret
from schemas.errors import SecretUnavailable

SERVICE_ACCOUNT_TOKEN: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"
_MAX_TOKEN_CHARS: Final = 64 * 1024


class VaultLogin(Protocol):
    """One way to log in."""

    @property
    def fresh(self) -> bool:
        """Whether a log-in makes a new token, so that a refusal after it is not the token's."""

    def log_in(self, client: Any) -> float | None:
        """Give `client` its token; how many seconds it lasts, None if that is not said.

        A SecretError if our part of it cannot be read; the client's own errors if Vault refuses.
        """


class TokenLogin:
    """A token that somebody else made and renews, such as Vault Agent in a file."""

    fresh = False

    def __init__(self, token: Callable[[], Secret]) -> None:
        self._token = token

    def log_in(self, client: Any) -> float | None:
        """Read the token; how long it lasts is its maker's matter."""
        client.token = self._token().reveal()
        return None


class AppRoleLogin:
    """A role id and a secret id."""

    fresh = True

    def __init__(
        self, role_id: str, secret_id: Callable[[], Secret], *, mount: str = "approle"
    ) -> None:
        self._role_id = role_id
        self._secret_id = secret_id
        self._mount = mount

    def log_in(self, client: Any) -> float | None:
        """Trade the ids for a token."""
        secret_id = self._secret_id().reveal()
        return _lease_s(
            client.auth.approle.login(self._role_id, secret_id, mount_point=self._mount)
        )


class KubernetesLogin:
    """The pod's service account."""

    fresh = True

    def __init__(
        self, role: str, *, token_file: str = SERVICE_ACCOUNT_TOKEN, mount: str = "kubernetes"
    ) -> None:
        self._role = role
        self._token_file = Path(token_file)
        self._mount = mount

    def log_in(self, client: Any) -> float | None:
        """Trade the service account's token, which the kubelet replaces hourly, for Vault's."""
        try:
            # Any user may read it in a pod, so the file: backend would warn for nothing.
            with self._token_file.open(encoding="ascii") as file:
                token = file.read(_MAX_TOKEN_CHARS).strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no token"
            raise SecretUnavailable(
                f"the service account's token {self._token_file} cannot be read: {reason}; is "
                "automountServiceAccountToken off, or credentials.vault.kubernetes.token_file "
                "another?"
            ) from None
        return _lease_s(client.auth.kubernetes.login(self._role, token, mount_point=self._mount))


def _lease_s(answer: Any) -> float | None:
    lease_s = answer["auth"].get("lease_duration")
    return float(lease_s) if lease_s else None
