"""What only the Redis store has: scripts that cannot be half done, lost answers, its settings."""

# ruff: noqa: PT012 - the whole transaction is what raises
from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from consumer.core.staleness import Applied
from consumer.stores.contract import Letter, ParkedEvent, Partition
from consumer.stores.redis_operations import RedisOperations
from consumer.stores.redis_store import RedisStore
from schemas.dead_letter import DeadLetter
from schemas.errors import (
    ConfigurationError,
    Fenced,
    HandlerError,
    StatementFailed,
    StoreUnavailable,
)
from tests.parts.process import Process, free_port
from tests.parts.redis import RedisServer, redis_server
from tests.stores.flaky_link import FlakyLink
from tests.stores.harness_redis import NOW_S, apply, dedupe_id, everything

pytestmark = pytest.mark.redis

P0, P1 = Partition("events", 0), Partition("events", 1)
ID_A, ID_B = b"a" * 16, b"b" * 16
DAY_S = 86_400


@pytest.fixture
def client(redis: RedisServer) -> Iterator[Any]:
    client: Any = redis_py.Redis.from_url(redis.url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def store(redis: RedisServer, client: Any) -> Iterator[RedisStore]:
    store = RedisStore(redis.url, "orders")
    yield store
    store.close()


@pytest.fixture
def link(redis: RedisServer) -> Iterator[FlakyLink]:
    link = FlakyLink(redis.port)
    yield link
    link.close()


def test_a_zombie_of_another_process_is_fenced_even_between_its_look_and_its_commit(
    redis: RedisServer, store: RedisStore, client: Any
) -> None:
    other = RedisStore(redis.url, "orders")
    claim = store.claim([P0], "zombie")[0]
    with pytest.raises(Fenced, match="another owner"), store.commit() as commit:
        assert commit.owned([claim]) == {P0}
        commit.handle.execute("INCR", ("n",))
        commit.remember([ID_A], NOW_S)
        # Nothing moves in P0, but its effects count on it.
        other.claim([P0], "new owner")
    assert client.get("n") is None
    with other.commit() as commit:
        assert commit.seen([ID_A]) == set()
        assert commit.owner(P0) == "new owner"
    other.close()


def test_an_effect_whose_answer_was_lost_is_not_applied_twice(link: FlakyLink, client: Any) -> None:
    store = RedisStore(f"redis://127.0.0.1:{link.port}/0", "orders")
    claim = store.claim([P0])[0]
    assert apply(store, claim, ID_A, ("INCR", "n"))
    link.lose_the_answer_to(b"remember")
    with pytest.raises(StoreUnavailable, match="events wait in Kafka"):
        apply(store, claim, ID_B, ("INCR", "n"))
    assert client.get("n") == b"2"
    # The engine's next try.
    assert not apply(store, claim, ID_B, ("INCR", "n"))
    assert client.get("n") == b"2"
    assert apply(store, claim, dedupe_id(3), ("INCR", "n"))
    store.close()


def test_a_script_that_arrives_after_its_batch_was_looked_up_again_does_not_double_it(
    link: FlakyLink, client: Any
) -> None:
    store = RedisStore(f"redis://127.0.0.1:{link.port}/0", "orders")
    claim = store.claim([P0])[0]
    assert apply(store, claim, dedupe_id(1), ("SET", "n", 0))
    link.hold_back(b"remember")
    with pytest.raises(StoreUnavailable):
        apply(store, claim, ID_A, ("INCR", "n"))
    assert client.get("n") == b"0"
    with pytest.raises(StoreUnavailable, match="has arrived after all"), store.commit() as commit:
        assert commit.owned([claim]) == {P0}
        assert commit.seen([ID_A]) == set()
        link.let_go()
        commit.handle.execute("INCR", ("n",))
        commit.remember([ID_A], NOW_S)
        commit.advance([claim], {P0: 5}, {}, NOW_S)
    assert client.get("n") == b"1"
    assert not apply(store, claim, ID_A, ("INCR", "n"))
    assert client.get("n") == b"1"
    store.close()


def test_a_redis_that_went_back_to_an_older_state_is_not_carried_on_from_memory(
    store: RedisStore, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    claim = store.claim([P0])[0]
    apply(store, claim, ID_A, ("INCR", "n"))
    older = everything(client)
    apply(store, claim, ID_B, ("INCR", "n"))
    client.flushall()
    for key, value in older.items():
        client.restore(key, 0, value)
    with store.commit() as commit:
        assert commit.owned([claim]) == set()
    assert "gone back to an older state of events[0]" in caplog.text
    again = store.claim([P0])[0]
    assert apply(store, again, ID_B, ("INCR", "n"))
    assert client.get("n") == b"2"


def test_all_that_was_committed_is_there_after_kill_9() -> None:
    with RedisServer() as server:
        store = RedisStore(server.url, "orders")
        claim = store.claim([P0])[0]
        for n in range(200):
            assert apply(store, claim, dedupe_id(n), ("HINCRBY", "orders", "x", 1))
        server.kill()
        with pytest.raises(StoreUnavailable, match="check that it runs"):
            apply(store, claim, dedupe_id(200), ("HINCRBY", "orders", "x", 1))
        server.start()
        # The same store goes on: nothing was lost, so nobody need claim anew.
        with store.commit() as commit:
            assert commit.owned([claim]) == {P0}
            assert len(commit.seen([dedupe_id(n) for n in range(201)])) == 200
        assert apply(store, claim, dedupe_id(200), ("HINCRBY", "orders", "x", 1))
        client: Any = redis_py.Redis.from_url(server.url)
        assert client.hget("orders", "x") == b"201"
        store.close()


def test_a_full_redis_writes_nothing_and_can_still_forget(store: RedisStore, client: Any) -> None:
    claim = store.claim([P0])[0]
    apply(store, claim, ID_A, ("SET", "k", "v"))
    before = everything(client)
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable, match=r"OOM.*raise it, or make room"):
            apply(store, claim, ID_B, ("DEL", "k"), ("SET", "big", "x" * 1000))
        assert everything(client) == before
        assert store.expire(NOW_S + 2 * DAY_S, 100) == 1
    finally:
        client.config_set("maxmemory", 0)
    assert apply(store, claim, ID_B, ("DEL", "k"))


def test_a_replica_is_refused_with_what_to_do(store: RedisStore, client: Any) -> None:
    claim = store.claim([P0])[0]
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(StoreUnavailable, match=r"point consumer\.store at the primary"):
            apply(store, claim, ID_A, ("INCR", "n"))
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")
    assert client.get("n") is None


def test_many_ids_stay_in_small_hashes_and_are_all_found(store: RedisStore, client: Any) -> None:
    claim = store.claim([P0])[0]
    ids = [dedupe_id(n) for n in range(30_000)]
    for start in range(0, len(ids), 1000):
        with store.commit() as commit:
            assert commit.owned([claim]) == {P0}
            # Every other one on a day that is then forgotten.
            commit.remember(ids[start : start + 1000 : 2], NOW_S)
            commit.remember(ids[start + 1 : start + 1000 : 2], NOW_S - 5 * DAY_S)
            commit.note_applied({i: Applied(1) for i in ids[start : start + 1000 : 50]}, NOW_S)
            commit.advance([claim], {P0: start}, {}, NOW_S)
    buckets = list(client.scan_iter("{hookline:orders}:seen:*", count=1000))
    assert 400 < len(buckets) < 500
    assert {client.object("encoding", bucket) for bucket in buckets} == {b"listpack"}
    assert sum(client.hlen(bucket) for bucket in buckets) == 30_000
    with store.commit() as commit:
        assert commit.seen([*ids, dedupe_id(-1 & 0xFFFFFF)]) == set(ids)
        assert len(commit.applied(ids)) == 600
    calls = []
    while gone := store.expire(NOW_S - DAY_S, 2000):
        calls.append(gone)
    assert sum(calls) == 15_000
    assert max(calls) < 2200
    with store.commit() as commit:
        assert commit.seen(ids) == set(ids[::2])
    assert client.hget("{hookline:orders}:seen", "count") == b"15000"
    assert client.hgetall("{hookline:orders}:seen.days") == {b"20100": b"15000"}


def test_an_operator_who_touches_a_key_while_it_is_being_tried_is_heard(
    redis: RedisServer, store: RedisStore
) -> None:
    claim = store.claim([P0])[0]
    event = ParkedEvent(partition=P0, key=b"k", offset=1, value=b"v")
    with store.commit() as commit:
        commit.park([event], 10**15)
        commit.advance([claim], {P0: 2}, {}, NOW_S)
    operations = RedisOperations(redis.url, "orders")
    operations.retry([(P0, b"k")], 1000)
    with store.commit() as commit:
        assert [k.retry_at_ms for k in commit.touched([P0])] == [1000]
        operations.retry([(P0, b"k")], 2000)
        commit.postpone(P0, b"k", 3, 10**15)
        commit.advance([claim], {P0: 2}, {}, NOW_S)
    with store.commit() as commit:
        assert [(k.attempts, k.retry_at_ms) for k in commit.touched([P0])] == [(3, 2000)]
    operations.close()


def test_a_newer_store_is_refused_and_left_alone(
    redis: RedisServer, store: RedisStore, client: Any
) -> None:
    client.hset("{hookline:orders}:store", "version", 99)
    for opening in (RedisStore, RedisOperations):
        with pytest.raises(StoreUnavailable, match="version 99"):
            opening(redis.url, "orders")
    assert client.hget("{hookline:orders}:store", "version") == b"99"


def test_groups_share_a_redis_and_an_unknown_one_has_no_store(
    redis: RedisServer, store: RedisStore
) -> None:
    other = RedisStore(redis.url, "billing")
    apply(store, store.claim([P0])[0], ID_A)
    with other.commit() as commit:
        assert commit.seen([ID_A]) == set()
    other.close()
    with pytest.raises(StoreUnavailable, match=r"no store for group 'nobody'.*start"):
        RedisOperations(redis.url, "nobody")


def test_one_warning_says_what_the_settings_put_at_risk(
    redis: RedisServer, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    RedisStore(redis.url, "orders").close()
    assert caplog.records == []
    try:
        client.config_set("appendfsync", "everysec")
        client.config_set("maxmemory-policy", "allkeys-lru")
        RedisStore(redis.url, "orders").close()
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "appendfsync is everysec" in record.getMessage()
        assert "set noeviction" in record.getMessage()
        caplog.clear()
        client.config_set("appendonly", "no")
        RedisStore(redis.url, "orders").close()
        assert "appendonly is off" in caplog.records[0].getMessage()
    finally:
        client.config_set("appendonly", "yes")
        client.config_set("appendfsync", "always")
        client.config_set("maxmemory-policy", "noeviction")


def test_no_error_shows_the_password(redis: RedisServer, client: Any) -> None:
    secret = "CANARY-s3cret"
    client.config_set("requirepass", secret)
    try:
        store = RedisStore(f"redis://:{secret}@127.0.0.1:{redis.port}/0", "orders")
        claim = store.claim([P0])[0]
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="OOM") as full:
            apply(store, claim, ID_A, ("INCR", "n"))
        client.config_set("maxmemory", 0)
        store.close()
        with pytest.raises(StoreUnavailable, match=r"wants a password|is wrong"):
            RedisStore(redis.url, "orders")
        errors = [full.value]
        for url in (
            f"redis://:{secret}x@127.0.0.1:{redis.port}/0",
            f"redis://:{secret}@127.0.0.1:1/0",
            f"redis://:{secret}@127.0.0.1:{secret}/0",
            f"redis://:{secret}/x@127.0.0.1/0",
            f"http://:{secret}@127.0.0.1/0",
        ):
            with pytest.raises((StoreUnavailable, ConfigurationError)) as raised:
                RedisStore(url, "orders")
            errors.append(raised.value)
    finally:
        client.config_set("maxmemory", 0)
        client.config_set("requirepass", "")
    shown = [str(e) for e in errors] + [repr(e.__cause__) for e in errors]
    assert not any("CANARY" in text for text in shown)


def test_a_user_without_the_rights_is_told_so_before_anything_is_half_done(
    redis: RedisServer, store: RedisStore, client: Any
) -> None:
    base = ["on", ">pw", "+@connection", "+@scripting", "+info", "+time", "+config|get",
            "+@read", "+@write"]  # fmt: skip
    client.execute_command("ACL", "SETUSER", "narrow", *base, "~{hookline:*", "~mine:*", "-zadd")
    try:
        url = f"redis://narrow:pw@127.0.0.1:{redis.port}/0"
        with pytest.raises(StoreUnavailable, match=r"may not run ZADD.*give this user"):
            RedisStore(url, "orders")
        client.execute_command("ACL", "SETUSER", "narrow", "+zadd")
        narrow = RedisStore(url, "orders")
        claim = narrow.claim([P0])[0]
        assert apply(narrow, claim, ID_A, ("INCR", "mine:n"))
        with pytest.raises((StatementFailed, StoreUnavailable), match=r"NOPERM|permission"):
            apply(narrow, claim, ID_B, ("INCR", "mine:n"), ("INCR", "theirs"))
        assert client.get("mine:n") == b"1"
        narrow.close()
    finally:
        client.execute_command("ACL", "DELUSER", "narrow")


def test_on_a_cluster_all_of_a_group_is_one_slot_and_effects_name_it(tmp_path: Path) -> None:
    port = free_port()
    command = [redis_server(), "--port", str(port), "--cluster-enabled", "yes", "--bind",
               "127.0.0.1", "--dir", str(tmp_path), "--save", "", "--cluster-port",
               str(free_port())]  # fmt: skip
    process = Process(command, tmp_path / "log")
    client: Any = redis_py.Redis(port=port)
    try:
        process.wait_until(lambda: _answers(client), "Redis")
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        process.wait_until(
            lambda: b"cluster_state:ok" in _raw(client.execute_command("CLUSTER", "INFO")), "slots"
        )
        store = RedisStore(f"redis://127.0.0.1:{port}/0", "orders")
        claim = store.claim([P0, P1])[0]
        mine = "count:{hookline:orders}"
        letter = Letter(dedupe_id=ID_A, letter=DeadLetter(reason="poison", died_at_us=1))
        with store.commit() as commit:
            commit.bury([letter])
            commit.park([ParkedEvent(partition=P0, key=b"k", offset=1, value=b"v")], 1)
            commit.advance([claim], {P0: 1}, {P0: 3}, NOW_S)
        assert apply(store, claim, ID_B, ("INCR", mine))
        with pytest.raises(StatementFailed, match="another slot"):
            apply(store, claim, ID_A, ("INCR", mine), ("INCR", "elsewhere"))
        with store.commit(careful=True) as commit, pytest.raises(HandlerError, match="slot"):
            commit.handle.execute("INCR", ("elsewhere",))
        assert client.get(mine) == b"1"
        slots = {client.execute_command("CLUSTER", "KEYSLOT", key) for key in client.keys("*")}
        assert len(slots) == 1
        store.close()
    finally:
        client.close()
        process.kill()


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis_py.RedisError:
        return False


def _raw(answer: Any) -> bytes:
    if isinstance(answer, dict):
        return b"\n".join(f"{k}:{v}".encode() for k, v in answer.items())
    return answer if isinstance(answer, bytes) else str(answer).encode()
