"""A session with Vault: the client, its token, and what its answers mean that are about no secret.

Reading and writing share it, so that there is one log-in and one way to tell a refusal of Vault
from one of what stands before it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Final, TypeVar

from credentials.value import detail
from credentials.vault_login import VaultLogin
from schemas.errors import SecretError

T = TypeVar("T")

#: We log in again when this part of a token's time is over.
_RENEW_AT: Final = 0.8


class VaultAway(Exception):
    """Vault could not be asked, or our log-in is refused: nothing is known of any secret."""


class VaultSession:
    """Asks with a token that it gets itself and replaces before it ends. Any thread may use it."""

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
        """`mounts`: those with a slash in their name; of any other a place's first part."""
        self.address = address
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

    def ask(self, hvac: ModuleType, request: Callable[[Any], T]) -> T:
        """What `request` makes of the logged-in client; it may be called twice, on a new token.

        VaultAway if there was no answer of Vault's; hvac's VaultError if it is a refusal.
        """
        unanswered = self._unanswered
        with self._lock:
            if self._unanswered != unanswered:
                # Nor would this be answered: several that queue here must not each wait for it.
                raise VaultAway(self._why)
            why = ""
            try:
                return self._answer(hvac, request)
            except (VaultAway, SecretError, hvac.exceptions.VaultError):
                raise
            # The client stumbles over JSON that is not of Vault's form.
            except (AttributeError, KeyError, TypeError):
                why = self.no_vault()
            # All of the client's own, and a CA file that is not there.
            except OSError as error:
                self._unanswered += 1
                why = self._why = (
                    f"Vault at {self.address} does not answer ({type(error).__name__}); check "
                    "credentials.vault.address and ca_file, the network and the certificate"
                )
        raise VaultAway(why)

    def split(self, place: str) -> tuple[str, str]:
        """The mount of a place, and the path in it."""
        for known in self._mounts:
            if place.startswith(f"{known}/"):
                return known, place.removeprefix(f"{known}/")
        mount, _, path = place.partition("/")
        return mount, path

    def not_of_secret(self, hvac: ModuleType, error: Any) -> str:
        """Why Vault could not be asked, if its refusal is about no secret; else empty."""
        known = hvac.exceptions
        if not _of_vault(error.json):
            # A proxy, an ingress without its Vault, a page that says that it will be back.
            return f"{self.no_vault()} ({type(error).__name__})"
        if isinstance(error, known.InvalidPath | known.Forbidden | known.InvalidRequest):
            return ""
        return f"Vault at {self.address} cannot answer now ({said(error)})"

    def no_vault(self) -> str:
        """What to say of an answer that Vault would not give."""
        return (
            f"what answers at {self.address} is no Vault; check credentials.vault.address and "
            "what stands before it"
        )

    def _answer(self, hvac: ModuleType, request: Callable[[Any], T]) -> T:
        client = self._client
        if client is None:
            client = self._client = hvac.Client(
                url=self.address,
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
            return request(client)
        except hvac.exceptions.Forbidden:
            # The secret's policy, or a token that ended before its time: revoked, used up, or
            # forgotten by a Vault that was set up anew.
            if (fresh and self._login.fresh) or _token_counts(hvac, client):
                raise
        before = client.token
        self._log_in(hvac, client)
        if client.token == before:
            raise VaultAway(
                "Vault no longer takes the token of credentials.vault.token; put a new one there"
            )
        return request(client)

    def _log_in(self, hvac: ModuleType, client: Any) -> None:
        client.token = ""
        at_s = self._now_s()
        try:
            lease_s = self._login.log_in(client)
        except SecretError as error:
            raise VaultAway(f"Hookline cannot log in to Vault: {error}") from None
        except hvac.exceptions.VaultError as error:
            raise VaultAway(
                f"Vault at {self.address} refuses Hookline's log-in ({said(error)}); check "
                "credentials.vault and the role there"
            ) from None
        except (KeyError, TypeError):
            raise VaultAway(self.no_vault()) from None
        self._log_in_at_s = None if lease_s is None else at_s + lease_s * _RENEW_AT


def said(error: Any) -> str:
    """Vault's own words, without what could be secret."""
    found = error.errors if isinstance(error.errors, list) else [error.errors or ""]
    return detail(", ".join(map(str, found)) or type(error).__name__)


def _token_counts(hvac: ModuleType, client: Any) -> bool:
    try:
        client.auth.token.lookup_self()
    except hvac.exceptions.Forbidden:
        return False
    return True


def _of_vault(answer: Any) -> bool:
    """Whether a refusal is Vault's own, all of which say `errors`, or for a deleted one `data`."""
    return isinstance(answer, dict) and ("errors" in answer or "data" in answer)
