"""Backend, cache and refresher as a gateway has them: rotation, outage, revocation."""

from __future__ import annotations

import logging

import pytest

from credentials.cache import CachedBackend, CachePolicy
from credentials.key_ring import KeyRing
from credentials.refresher import RingRefresher, WatchedRing
from credentials.resolver import Resolver
from credentials.secret import Secret
from credentials.vault import VaultBackend
from credentials.vault_login import AppRoleLogin
from credentials.vault_session import VaultSession
from schemas.connection import SecretReference
from tests.credentials.vault_standin import VaultStandIn

CANARIES = ("canary-old", "canary-new", "canary-secret-id")


class Gateway:
    """One connection with two secrets in Vault, and a clock."""

    def __init__(self, vault: VaultStandIn) -> None:
        role_id, _ = vault.new_secret_id()
        vault.secret_ids.add("canary-secret-id")
        vault.write("old", {"key": "canary-old"})
        vault.write("new", {"key": "canary-new"})
        self.now_s = 0.0
        login = AppRoleLogin(role_id, lambda: Secret("canary-secret-id"))
        backend = VaultBackend(
            VaultSession(address=vault.address, login=login, now_s=lambda: self.now_s)
        )
        self.cache = CachedBackend(
            backend,
            # No refreshing ahead: a round sees the end of the time-to-live itself.
            CachePolicy(ttl_s=300, refresh_ahead_s=0, keep_s=3600, retry_s=5),
            now_s=lambda: self.now_s,
        )
        resolver = Resolver([self.cache])
        references = tuple(
            SecretReference(name=name, ref=f"vault:secret/{name}#key") for name in ("old", "new")
        )
        self.ring = KeyRing.load(references, resolver.resolve, str.encode)
        self.refresher = RingRefresher(
            resolve=resolver.resolve,
            rings=lambda: [WatchedRing("acme", self.ring, str.encode)],
            swap=self.swap,
            interval_s=30,
            confirm_s=0,
            pause_s=0,
        )

    def swap(self, connection_id: str, old: KeyRing, new: KeyRing) -> None:
        assert self.ring is old
        self.ring = new

    def after(self, seconds: float) -> dict[str, bytes]:
        """The keys that count when so much time has passed, a round each 30 s."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += 30
            self.refresher.refresh()
        return {key.name: key.material for key in self.ring.active(0)}


BOTH = {"old": b"canary-old", "new": b"canary-new"}


def test_a_gateway_s_keys_follow_vault_through_all_that_happens(
    vault_standin: VaultStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway = Gateway(vault_standin)

    vault_standin.write("new", {"key": "canary-newer"})
    assert gateway.after(270) == BOTH
    assert gateway.after(30) == {"old": b"canary-old", "new": b"canary-newer"}

    # Sealed for less than an hour: nothing changes, and it is said once.
    vault_standin.answers_all = (503, "Vault is sealed")
    assert gateway.after(3300) == {"old": b"canary-old", "new": b"canary-newer"}
    assert caplog.text.count("a secret backend does not answer") == 1
    # For more than an hour: no key is believed any longer.
    assert gateway.after(600) == {}
    assert caplog.text.count("too old to count any longer") == 2
    assert caplog.text.count("a secret's backend is silent for too long") == 2
    # It is back, and so are they.
    vault_standin.answers_all = None
    assert gateway.after(30) == {"old": b"canary-old", "new": b"canary-newer"}
    assert caplog.text.count("a secret backend answers again") == 1

    # Denied there: that one counts no longer, from the next look at it on; the other does.
    vault_standin.deny("old")
    assert gateway.after(300) == {"new": b"canary-newer"}
    # A log-in that is refused is bridged.
    vault_standin.end_tokens()
    vault_standin.end_secret_ids()
    assert gateway.after(1800) == {"new": b"canary-newer"}
    gateway.cache.close()

    for canary in (*CANARIES, "canary"):
        assert canary not in caplog.text
