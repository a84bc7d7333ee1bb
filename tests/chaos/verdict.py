"""Compares what was answered, what the log holds, and what the effects are."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, TopicPartition

from schemas.codec import EVENT


class Log(msgspec.Struct, frozen=True):
    """The topic: event ids in order of their first record, per key, and how many records."""

    order: dict[str, list[str]]
    records: int
    #: The partition of each key.
    partitions: dict[str, int] = {}

    @property
    def ids(self) -> set[str]:
        """All event ids in it."""
        return {event_id for ids in self.order.values() for event_id in ids}


class Verdict(msgspec.Struct, frozen=True):
    """The figures of a run."""

    acknowledged: int
    effects: int
    duplicates_applied: int
    lost: int
    order_violations: int
    from_nowhere: int

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return self.acknowledged > 0 and not (
            self.duplicates_applied or self.lost or self.order_violations or self.from_nowhere
        )

    def __str__(self) -> str:
        return (
            f"acknowledged {self.acknowledged}, effects {self.effects}, duplicates applied "
            f"{self.duplicates_applied}, lost {self.lost}, order violations "
            f"{self.order_violations}"
        )


def read_log(bootstrap_servers: str, topic: str) -> Log:
    """Every record of a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "chaos-checker"})
    partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), 20)[1] for p in partitions}
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    order: defaultdict[str, list[str]] = defaultdict(list)
    of_key: dict[str, int] = {}
    seen: set[str] = set()
    records = 0
    left = {p for p, end in ends.items() if end > 0}
    while left:
        for message in consumer.consume(1000, 1.0):
            assert message.error() is None, message.error()
            records += 1
            event = EVENT.decode(message.value())
            of_key[event.resource_key] = message.partition()
            if event.event_id not in seen:
                seen.add(event.event_id)
                order[event.resource_key].append(event.event_id)
            if message.offset() + 1 >= ends[message.partition()]:
                left.discard(message.partition())
    consumer.close()
    return Log(dict(order), records, of_key)


def read_effects(store: Path) -> list[tuple[str, str]]:
    """(event id, resource key) of each effect, in their order."""
    connection = sqlite3.connect(store)
    try:
        return connection.execute(
            "SELECT event_id, resource_key FROM effects ORDER BY number"
        ).fetchall()
    except sqlite3.OperationalError:
        return []  # The first effect makes the table.
    finally:
        connection.close()


def judge(acknowledged: Collection[str], log: Log, effects: list[tuple[str, str]]) -> Verdict:
    """The verdict; order is compared per key, over first effects and first records."""
    per_key: defaultdict[str, list[str]] = defaultdict(list)
    applied: set[str] = set()
    for event_id, key in effects:
        if event_id not in applied:
            applied.add(event_id)
            per_key[key].append(event_id)
    violations = sum(
        ids != [i for i in log.order.get(key, []) if i in applied] for key, ids in per_key.items()
    )
    return Verdict(
        acknowledged=len(acknowledged),
        effects=len(applied),
        duplicates_applied=len(effects) - len(applied),
        lost=len(set(acknowledged) - applied) + len(log.ids - applied - set(acknowledged)),
        order_violations=violations,
        from_nowhere=len(applied - log.ids),
    )
