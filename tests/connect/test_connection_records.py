"""Two sessions and one name: one of them has the connection, and neither takes away the other's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from producer.connect.connection_records import ConnectionRecords
from producer.connections.clients import TopicAccess
from schemas.connection import Connection, SecretReference
from schemas.connection_access import ConnectionAccess
from tests.connect.rig import until
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka
NAME = "acme-plain"
A, B = "connect:aaaaaaaaaaaa", "connect:bbbbbbbbbbbb"


@asynccontextmanager
async def following(
    broker: KafkaBroker, topic: str, count: int
) -> AsyncIterator[list[ConnectionRecords]]:
    """As many replicas."""
    found = [
        ConnectionRecords(TopicAccess(broker.bootstrap_servers, topic), "test")
        for _ in range(count)
    ]
    for one in found:
        one.start()
    try:
        await until(lambda: all(one._known is not None for one in found))
        yield found
    finally:
        for one in found:
            one.stop(2.0)


@pytest.fixture
def topic(kafka: KafkaBroker) -> str:
    return kafka.create_topic(f"conn-{uuid4().hex[:10]}", 1, cleanup_policy="compact")


async def put(records: ConnectionRecords, by: str, tenant: str) -> bool:
    ref = f"sealed:{tenant}/{NAME}/secret"
    return await records.put(
        Connection(
            id=NAME,
            tenant=tenant,
            provider="standard_webhooks",
            environment="test",
            secrets=(SecretReference(name="connect", ref=ref),),
        ),
        ConnectionAccess(
            connection=NAME,
            environment="test",
            system="plain",
            credentials={"token": ref},
            changed_at_us=1,
            changed_by=by,
        ),
    )


def owner(records: ConnectionRecords) -> tuple[str, str]:
    record, access = records.record(NAME), records.access(NAME)
    return (record.changed_by if record else "", access.changed_by if access else "")


@pytest.mark.parametrize("replicas", [1, 2])
def test_of_two_sessions_that_write_one_name_at_once_one_has_it(
    kafka: KafkaBroker, topic: str, replicas: int
) -> None:
    async def go() -> None:
        async with following(kafka, topic, replicas) as found:
            # Both see that the name is free before either has written.
            won = await asyncio.gather(put(found[0], A, "acme"), put(found[-1], B, "other"))
            assert sorted(won) == [False, True]
            winner = A if won[0] else B
            await until(lambda: all(owner(one) == (winner, winner) for one in found))
            loser = B if won[0] else A
            assert not await put(found[-1], loser, "other")
            await found[-1].remove(NAME, loser)
            assert owner(found[-1]) == (winner, winner)

    asyncio.run(go())


def test_a_session_takes_away_no_record_that_is_not_its_own(kafka: KafkaBroker, topic: str) -> None:
    async def go() -> None:
        async with following(kafka, topic, 1) as (records,):
            await records.revoke(NAME, "operator", 1)
            assert not await put(records, A, "acme")
            await records.remove(NAME, A)
            assert records.there(NAME)
            await records.remove(NAME)
            assert not records.there(NAME)
            assert await put(records, A, "acme")
            await records.remove(NAME, B)
            assert owner(records) == (A, A)
            await records.remove(NAME, A)
            assert owner(records) == ("", "")

    asyncio.run(go())
