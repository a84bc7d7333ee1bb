"""The gateway's connections, wired from the settings: topic, file, snapshot, secrets, metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from credentials import backend_metrics
from credentials.refresher import RingRefresher
from credentials.resolver import Resolver
from hookline.settings.loading import Settings
from producer.connections.clients import TopicAccess
from producer.connections.registry import ConnectionRegistry, RegistryPlan
from producer.connections.registry_metrics import measure, measure_secrets
from producer.connections.snapshot import Snapshot
from producer.gateway.connections import ConnectionTable

Check = tuple[bool, str]


class GatewayRegistry:
    """The table that the receive path reads, and what keeps it."""

    def __init__(
        self,
        settings: Settings,
        resolver: Resolver,
        forget: Callable[[str], None],
        known: Callable[[str], None],
    ) -> None:
        """`forget` is told of a connection that was removed, `known` of one that will be served."""
        self.table = ConnectionTable(settings.environment, complete=False)
        self._registry = ConnectionRegistry(
            RegistryPlan(
                environment=settings.environment,
                access=topic_access(settings, resolver),
                snapshot=_snapshot(settings),
                listed=[c.to_connection(settings.environment) for c in settings.connections],
                patience_s=settings.gateway.snapshot_after_ms / 1000,
            ),
            self.table,
            resolver.resolve,
            forget,
            known,
        )
        self._refresher = RingRefresher(
            resolve=resolver.resolve,
            rings=self._registry.serving.rings,
            swap=self._registry.serving.swap,
            interval_s=settings.credentials.refresh_interval_ms / 1000,
        )
        measure(self._registry)
        measure_secrets(self._registry.serving)
        backend_metrics.measure(resolver.silent_s)
        self.live = self._registry.live
        self.ready = self._registry.ready

    def start(self) -> None:
        """Begin to follow the topic, and the secrets."""
        self._registry.start()
        self._refresher.start()

    def close(self) -> None:
        """End; may wait for a few seconds."""
        self._registry.close()
        self._refresher.close(1.0)


def topic_access(settings: Settings, resolver: Resolver) -> TopicAccess:
    """Where the connections topic is, with the secrets that reaching it takes."""
    return TopicAccess(
        settings.kafka.bootstrap_servers,
        settings.topics.connections,
        settings.kafka.resolved_properties(resolver),
    )


def both(one: Check, other: Check) -> Check:
    """Good if both are, with what there is to say; else why not."""
    good = one[0] and other[0]
    return good, "; ".join(reason for fine, reason in (one, other) if reason and fine == good)


def _snapshot(settings: Settings) -> Snapshot | None:
    gateway = settings.gateway
    path = gateway.connections_snapshot
    if path is None and settings.spool.path is not None:
        path = f"{settings.spool.path}.connections"
    if path is None:
        return None
    return Snapshot(Path(path), settings.topics.connections, gateway.snapshot_max_age_ms / 1000)
