"""Whether ids are remembered for longer than the log keeps events; one warning if not.

An event that is read again after its id was forgotten has its effect twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]

from hookline.settings.loading import Settings

log = logging.getLogger("hookline.consumer")

_TIMEOUT_S: Final = 10.0
_DAY_MS: Final = 86_400_000


def warn_of_short_retention(settings: Settings, properties: Mapping[str, Any]) -> threading.Thread:
    """Look in a thread of its own, as Kafka may be away; nothing is said if it does not tell."""
    thread = threading.Thread(
        target=_look, args=(settings, properties), name="hookline-retention", daemon=True
    )
    thread.start()
    return thread


def short_retention(topic: str, retention_ms: int, retention_days: int) -> str | None:
    """What is wrong and what to write; `retention_ms` is the topic's, -1 for ever."""
    if 0 <= retention_ms < retention_days * _DAY_MS:
        return None
    problem = (
        f"consumer.retention_days is {retention_days}, and topic {topic} keeps events "
        + (f"for {retention_ms / _DAY_MS:.3g} days" if retention_ms >= 0 else "for ever")
        + f" (retention.ms={retention_ms}): an event that is read again after its id was forgotten "
        "has its effect twice; "
    )
    if retention_ms < 0:
        return problem + f"set the topic's retention.ms below {retention_days * _DAY_MS}"
    return problem + f"write consumer.retention_days: {retention_ms // _DAY_MS + 1} or more"


def _look(settings: Settings, properties: Mapping[str, Any]) -> None:
    topic = settings.topics.events
    ours = {name: value for name, value in properties.items() if name != "group.protocol"}
    try:
        admin = AdminClient(
            {"bootstrap.servers": settings.kafka.bootstrap_servers, **ours, "log_level": 0}
        )
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        found = admin.describe_configs([resource], request_timeout=_TIMEOUT_S)[resource]
        retention_ms = int(found.result(_TIMEOUT_S)["retention.ms"].value)
    # The thread's top, and best effort: no broker, no right to look, a broker that has no answer.
    except (KafkaException, KeyError, TimeoutError, TypeError, ValueError):
        return
    if problem := short_retention(topic, retention_ms, settings.consumer.retention_days):
        log.warning(problem)
