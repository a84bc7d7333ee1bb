"""Effects on Redis: what is let in, and that a commit is never half done."""

# ruff: noqa: PT012 - the whole transaction is what raises
from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from consumer.stores.contract import Partition
from consumer.stores.redis_effects import _SHAPES, encode
from consumer.stores.redis_scripts import SCRIPTS
from consumer.stores.redis_store import RedisStore
from schemas.errors import (
    HandlerError,
    StatementFailed,
    TransactionEnded,
)
from tests.parts.redis import RedisServer
from tests.stores.harness_redis import NOW_S, apply, everything

pytestmark = pytest.mark.redis

P0 = Partition("events", 0)
ID_A, ID_B = b"a" * 16, b"b" * 16


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


@pytest.mark.parametrize(
    ("effects", "problem"),
    [
        ([("RPUSH", "text", "x")], "text is a string, not a list"),
        ([("HINCRBY", "hash", "word", 1)], "hash word is not an integer"),
        ([("INCR", "text")], "text is not an integer"),
        ([("INCRBYFLOAT", "text", 1.5)], "text is not a number"),
        ([("HINCRBY", "hash", "most", 1)], "would overflow"),
        ([("SET", "fresh", "x"), ("INCR", "fresh")], "fresh is not an integer"),
        ([("RPUSH", "fresh", "x"), ("SADD", "fresh", "x")], "fresh is a list, not a set"),
        ([("HSET", "hash", "n", "x"), ("HINCRBY", "hash", "n", 1)], "hash n is not an integer"),
        ([("SMOVE", "set", "text", "x")], "text is a string, not a set"),
        ([("LPOP", "list"), ("SADD", "list", "x")], "would change its type within one commit"),
    ],
)
def test_an_effect_that_cannot_succeed_is_found_before_anything_is_written(
    store: RedisStore, client: Any, effects: list[tuple[Any, ...]], problem: str
) -> None:
    client.set("text", "words")
    client.hset("hash", mapping={"word": "x", "most": 2**63 - 1})
    client.sadd("set", "x")
    client.rpush("list", "x")
    claim = store.claim([P0])[0]
    before = everything(client)
    with pytest.raises(StatementFailed, match=problem):
        apply(store, claim, ID_A, ("INCR", "n"), *effects)
    assert everything(client) == before
    # Carefully, the statement itself fails, and the events beside it are applied.
    with store.commit(careful=True) as commit:
        commit.owned([claim])
        commit.savepoint()
        commit.handle.execute("INCR", ("n",))
        commit.keep()
        commit.savepoint()
        with pytest.raises(HandlerError, match=problem):
            for name, *arguments in effects:
                commit.handle.execute(name, arguments)
        commit.take_back()
        commit.remember([ID_B], NOW_S)
        commit.advance([claim], {P0: 1}, {}, NOW_S)
    assert client.get("n") == b"1"
    assert client.get("text") == b"words"
    assert client.exists("fresh") == 0


def test_what_changes_type_by_a_delete_or_a_set_is_let_through(
    store: RedisStore, client: Any
) -> None:
    client.rpush("k", "x")
    claim = store.claim([P0])[0]
    assert apply(
        store, claim, ID_A,
        ("DEL", "k"), ("HSET", "k", "f", 41), ("HINCRBY", "k", "f", 1),
        ("SET", "s", 1, "EX", 100), ("INCRBY", "s", 5), ("INCRBYFLOAT", "s", 0.5),
        ("SET", "s2", "x"), ("DEL", "s2"), ("INCR", "s2"),
        ("ZADD", "z", "CH", 1, "m"), ("ZINCRBY", "z", 1.5, "m"), ("XADD", "log", "*", "a", "b"),
        ("XADD", "log", "MAXLEN", "~", 10, "*", "a", "b"), ("MSET", "m1", 1, "m2", 2),
    )  # fmt: skip
    assert client.hget("k", "f") == b"42"
    assert client.get("s") == b"6.5"
    assert client.get("s2") == b"1"
    assert client.zscore("z", "m") == 2.5
    assert client.xlen("log") == 2


@pytest.mark.parametrize("seed", range(8))
def test_what_passes_the_check_never_fails_in_the_middle(
    redis: RedisServer, store: RedisStore, client: Any, seed: int
) -> None:
    draw = random.Random(seed)
    names = ["a", "b", "c", "d"]
    values = ["1", "-7", "x", "", "007", "1.5", "-0", str(2**63 - 1), "1e3", "+5"]
    claim = store.claim([P0])[0]
    refused = wrongly = 0
    mirror: Any = redis_py.Redis(port=redis.port, db=1)
    for position in range(150):
        effects = [_random_effect(draw, names, values) for _ in range(draw.randint(1, 6))]
        before = everything(client)
        mirror.flushdb()
        for key in names:
            if client.exists(key):
                mirror.restore(key, 0, client.dump(key))
        failed = False
        for effect in effects:
            try:
                mirror.execute_command(*effect)
            except redis_py.ResponseError:
                failed = True
        problem = ""
        try:
            with store.commit() as commit:
                for name, *arguments in effects:
                    commit.handle.execute(name, arguments)
                commit.advance([claim], {P0: position}, {}, NOW_S)
        except StatementFailed as error:
            problem = str(error)
        if not problem:
            assert not failed, effects
            continue
        assert "nothing is written" in problem, (effects, problem)
        assert everything(client) == before
        refused += 1
        wrongly += not failed
    assert 5 < refused < 145
    # The check errs on the safe side only, and seldom.
    assert wrongly <= refused / 3


def _random_effect(draw: random.Random, names: list[str], values: list[str]) -> tuple[Any, ...]:
    key, value, field = draw.choice(names), draw.choice(values), draw.choice("fg")
    number = draw.choice([1, -1, 5, 2**62])
    return draw.choice(
        [
            ("SET", key, value), ("SET", key, value, "NX"), ("SETNX", key, value),
            ("MSET", key, value, draw.choice(names), value), ("SETBIT", key, 7, 1),
            ("INCR", key), ("INCRBY", key, number), ("DECRBY", key, number), ("DECR", key),
            ("INCRBYFLOAT", key, 1.25), ("HSET", key, field, value), ("HSETNX", key, field, value),
            ("HDEL", key, field), ("HINCRBY", key, field, number),
            ("HINCRBYFLOAT", key, field, 0.5), ("LPUSH", key, value), ("RPUSHX", key, value),
            ("LPOP", key), ("LTRIM", key, 0, 1), ("LREM", key, 0, value),
            ("LINSERT", key, "BEFORE", value, value), ("SADD", key, value), ("SREM", key, value),
            ("SMOVE", key, draw.choice(names), value), ("ZADD", key, 1, value),
            ("ZINCRBY", key, 2, value), ("ZREM", key, value), ("ZREMRANGEBYRANK", key, 0, 0),
            ("ZREMRANGEBYSCORE", key, "(1", "+inf"), ("XADD", key, "*", field, value),
            ("DEL", key), ("UNLINK", key), ("EXPIRE", key, 1000), ("EXPIRE", key, -1),
            ("PEXPIREAT", key, 1000), ("EXPIREAT", key, 4_000_000_000),
            ("PERSIST", key), ("PUBLISH", key, value),
        ]
    )  # fmt: skip


def test_every_command_that_is_let_in_has_its_check() -> None:
    for name in _SHAPES:
        assert f"{name} =" in SCRIPTS["try_effects"], name


@pytest.mark.parametrize(
    ("command", "arguments", "error"),
    [
        ("MULTI", (), TransactionEnded),
        ("exec", (), TransactionEnded),
        ("FLUSHALL", (), HandlerError),
        ("EVAL", ("return 1", 0), HandlerError),
        ("SELECT", (1,), HandlerError),
        ("BLPOP", ("k", 1), HandlerError),
        ("GET", ("k",), HandlerError),
        ("HSET orders f v", (), HandlerError),
        ("SET", ("{hookline:orders}:store", "x"), HandlerError),
        ("DEL", ("k", "{hookline:other}:store"), HandlerError),
        ("MSET", ("k", 1, "{hookline:orders}:held", 1), HandlerError),
        ("SMOVE", ("k", "{hookline:orders}:held", 1), HandlerError),
        ("HINCRBY", ("k", "f", "1.5"), HandlerError),
        ("HINCRBY", ("k", "f", 2**63), HandlerError),
        ("HSET", ("k", "f"), HandlerError),
        ("HSET", ("k",), HandlerError),
        ("SET", ("k", "v", "EX", 0), HandlerError),
        ("SET", ("k", "v", "NX", "XX"), HandlerError),
        ("ZADD", ("k", "nan", "m"), HandlerError),
        ("ZADD", ("k", "NX", "GT", 1, "m"), HandlerError),
        ("XADD", ("k", "1-1", "f", "v"), HandlerError),
        ("EXPIRE", ("k", 10**18), HandlerError),
        ("SET", ("k", None), HandlerError),
        ("SET", {"k": "v"}, HandlerError),
        ("SADD", ("k", *range(5000)), HandlerError),
    ],
)
def test_a_command_that_could_break_the_commit_is_refused_at_once(
    store: RedisStore, client: Any, command: str, arguments: Any, error: type[Exception]
) -> None:
    with pytest.raises(error), store.commit() as commit:
        commit.handle.execute(command, arguments)
    assert set(client.keys("*")) == {b"{hookline:orders}:store"}


def test_effects_are_write_only_and_say_so(store: RedisStore) -> None:
    with store.commit() as commit:
        cursor = commit.handle.execute("INCR", ("n",))
        with pytest.raises(HandlerError, match="write-only"):
            cursor.fetchone()
        with pytest.raises(HandlerError, match="external handler"):
            cursor.fetchall()


def test_bytes_words_and_numbers_go_in_as_they_are() -> None:
    assert encode("set", (b"\xff", 1.5)) == (b"SET", b"\xff", b"1.5")
    assert encode("HSET", ["k", "ü", 3]) == (b"HSET", b"k", "ü".encode(), b"3")
