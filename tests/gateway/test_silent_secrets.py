"""A secret whose backend is silent: its webhooks are asked to come again, and not called forged."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from credentials.key_ring import KeyRing
from credentials.secret import Secret
from producer.gateway.connections import ConnectionTable, Entry
from producer.gateway.gateway_metrics import GatewayMetrics
from producer.gateway.receiver import Receiver
from producer.gateway.tracing import GatewayTracing
from producer.providers.registry import build
from schemas.connection import Connection, SecretReference
from schemas.errors import BackendAway, SecretError, SecretUnavailable
from tests.credentials.vault_standin import VaultStandIn
from tests.gateway.http_socket import Response, get
from tests.gateway.running import GITHUB_SECRET, Gateway, github_body, github_headers
from tests.gateway.test_vendors import Sink
from tests.parts.mock_cluster import MockCluster
from tests.providers.http_request import RepeatableHeaders

NOW_S = 1_000_000.0
PROVIDER = build("github", {})
AWAY, REFUSED = BackendAway("nobody is there"), SecretUnavailable("it is deleted")
PAST = {"not_after_s": NOW_S - 1}


class Case:
    """A connection with these secrets, what became of each, and a webhook that `signer` signed."""

    def __init__(self, **secrets: tuple[SecretError | None, dict[str, float]]) -> None:
        self.references = tuple(
            SecretReference(name=name, ref=f"env:{name}", **times)
            for name, (_, times) in secrets.items()
        )
        self.errors = {f"env:{name}": error for name, (error, _) in secrets.items()}
        self.waiting: tuple[SecretReference, ...] = ()

    def resolve(self, ref: str) -> Secret:
        error = self.errors[ref]
        if error is not None:
            raise error
        return Secret(ref)

    def answer(self, signer: str, **headers: str) -> tuple[int, str]:
        ring = KeyRing.load(self.references, Secret, PROVIDER.load_key)
        ring = ring.refreshed(self.resolve, PROVIDER.load_key)
        connection = Connection(
            id="c", tenant="t", provider="github", environment="test", secrets=self.references
        )
        entry = Entry(connection, PROVIDER, ring, self.waiting)
        receiver = Receiver(
            environment="test",
            connections=ConnectionTable("test", [entry]),
            sink=Sink(full_at=0),
            events_topic="events",
            quarantine_topic="quarantine",
            tracing=GatewayTracing(0),
            metrics=GatewayMetrics(Sink()),
            clock_s=lambda: NOW_S,
        )
        key = PROVIDER.load_key(f"env:{signer}")
        signed = PROVIDER.sign(b"{}", key, event_id="e", event_type="github.ping", now_s=NOW_S)
        found = receiver.receive("c", RepeatableHeaders([*(signed | headers).items()]), b"{}", 0)
        assert not hasattr(found, "future")
        sent = dict(found.headers)
        assert (found.status == 503) == ("retry-after" in sent)
        return found.status, found.body.decode().split('"')[3]


@pytest.mark.parametrize(
    ("secrets", "answer"),
    [
        ({"A": (AWAY, {})}, (503, "not_served")),
        ({"A": (AWAY, {}), "B": (REFUSED, {})}, (503, "not_served")),
        ({"A": (AWAY, {"not_before_s": NOW_S})}, (503, "not_served")),
        # What would not count anyway is not waited for.
        ({"A": (AWAY, PAST)}, (401, "signature_refused")),
        ({"A": (AWAY, {"not_before_s": NOW_S + 1})}, (401, "signature_refused")),
        ({"A": (REFUSED, {})}, (401, "signature_refused")),
        ({"A": (None, PAST)}, (401, "signature_refused")),
        ({"A": (None, PAST), "B": (AWAY, PAST)}, (401, "signature_refused")),
        ({"A": (None, PAST), "B": (REFUSED, {})}, (401, "signature_refused")),
        # It could be the one that is away which has signed.
        ({"A": (AWAY, {}), "B": (None, {})}, (503, "not_served")),
        ({"A": (REFUSED, {}), "B": (None, {})}, (401, "signature_refused")),
    ],
    ids=str,
)
def test_only_a_secret_that_counts_and_is_not_known_asks_to_come_again(
    secrets: dict[str, Any], answer: tuple[int, str]
) -> None:
    assert Case(**secrets).answer("A") == answer


def test_what_is_wrong_with_any_secret_is_401() -> None:
    case = Case(A=(AWAY, {}), B=(None, {}))
    malformed = {"x-hub-signature-256": "sha256=short"}
    assert case.answer("A", **malformed) == (401, "signature_malformed")


def test_a_secret_that_was_not_asked_for_yet_asks_to_come_again() -> None:
    case = Case(B=(None, {}))
    case.waiting = (SecretReference(name="A", ref="env:A"),)
    assert case.answer("A") == (503, "not_served")
    case.waiting = (SecretReference(name="A", ref="env:A", **PAST),)
    assert case.answer("A") == (401, "signature_refused")


def test_a_refusal_stands_while_its_backend_is_silent_and_ends_a_silence() -> None:
    reference = (SecretReference(name="A", ref="env:A"),)

    def raising(error: SecretError) -> Callable[[str], Secret]:
        def resolve(ref: str) -> Secret:
            raise error

        return resolve

    ring = KeyRing.load(reference, Secret, PROVIDER.load_key)
    away = ring.refreshed(raising(AWAY), PROVIDER.load_key)
    assert away.silent(NOW_S)
    assert away.refreshed(raising(AWAY), PROVIDER.load_key) is away
    refused = away.refreshed(raising(REFUSED), PROVIDER.load_key)
    assert not refused.silent(NOW_S)
    assert refused.refreshed(raising(AWAY), PROVIDER.load_key) is refused
    back = refused.refreshed(Secret, PROVIDER.load_key)
    assert [key.name for key in back.active(NOW_S)] == ["A"]
    assert not back.silent(NOW_S)


def test_a_vault_that_is_away_for_too_long_costs_no_webhook(
    cluster: MockCluster, tmp_path: Path
) -> None:
    with VaultStandIn() as vault:
        role_id, secret_id = vault.new_secret_id()
        vault.write("acme", {"key": GITHUB_SECRET})
        settings = {
            "credentials": {
                "refresh_interval_ms": 1000,
                "cache": {"ttl_ms": 1000, "refresh_ahead_ms": 0, "keep_ms": 1000, "retry_ms": 100},
                "vault": {
                    "address": vault.address,
                    "approle": {"role_id": role_id, "secret_id": "env:SECRET_ID"},
                },
            }
        }
        gateway = Gateway(cluster.bootstrap_servers, tmp_path, settings)
        text = gateway.config_path.read_text()
        ref = "vault:secret/acme#key"
        gateway.config_path.write_text(text.replace("env:GITHUB_SECRET", ref, 1))
        gateway.secrets["SECRET_ID"] = secret_id
        body = github_body()

        def post() -> Response:
            return gateway.post("acme-github", github_headers(body), body)

        def silence(scheme: str) -> float:
            name = "hookline_secret_backend_silent_seconds"
            assert f'{name}{{scheme="{scheme}"}}' in get(gateway.port, "/metrics").body.decode()
            return gateway.metric(name, scheme=scheme)

        def until(status: int) -> Response:
            until_s = time.monotonic() + 20
            while (answer := post()).status != status:
                assert answer.status in (200, 503), answer
                assert time.monotonic() < until_s
                time.sleep(0.1)
            return answer

        with gateway:
            until(200)
            assert silence("vault") == silence("aws-sm") == silence("azure-kv") == 0
            vault.answers_all = (503, "Vault is sealed")
            answer = until(503)
            assert answer.json()["error"] == "not_served"
            assert int(answer.headers["retry-after"]) > 0
            before = silence("vault")
            assert 0 < before < 20
            assert silence("vault") > before
            assert silence("aws-sm") == silence("azure-kv") == 0
            vault.answers_all = None
            until(200)
            assert silence("vault") == 0
            vault.remove("acme")
            until_s = time.monotonic() + 20
            while (answer := post()).status == 200:
                assert time.monotonic() < until_s
            assert (answer.status, answer.json()["error"]) == (401, "signature_refused")
            (silent,) = gateway.lines(
                "a secret's backend is silent for too long; what only its key could verify is "
                "answered 503 until it is there"
            )
            assert (silent["connection"], silent["secret_name"]) == ("acme-github", "2026-11")
            assert "Vault is sealed" in silent["reason"]
            log = gateway.log()
    assert "canary" not in log
    assert "Traceback" not in log
