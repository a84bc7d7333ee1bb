"""The connection to one Redis: its errors as ours, its scripts, what it can promise.

Rule: nothing is sent twice. A script whose answer was lost may have run, so redis-py's own
retries are off; whoever called looks up what was done and decides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from consumer.stores.redis_scripts import SCRIPTS, ScriptName
from schemas.errors import ConfigurationError, StatementFailed, StoreError, StoreUnavailable

_parse = cast("Callable[[str], dict[str, Any]]", redis.connection.parse_url)
log = logging.getLogger("hookline.consumer")

VERSION: Final = 1
#: Longer than the slowest script by far; shorter than a person waits before asking why.
_TIMEOUT_S: Final = 10.0
_OLDEST: Final = (7, 0)  # script flags: a script is refused whole when memory is full

#: What Redis's error begins with → what to do.
_ADVICE: Final = {
    "OOM": "its maxmemory is used up: raise it, or make room; nothing of the batch was written",
    "LOADING": "it is loading its data after a start: wait",
    "BUSY": "another client's script runs long: see SCRIPT KILL",
    "READONLY": "it is a replica: point consumer.store at the primary",
    "MASTERDOWN": "it is a replica without its primary: point consumer.store at the primary",
    "MISCONF": "it cannot save to its disk, so it refuses writes: check the disk and Redis's log",
    "NOREPLICAS": "too few replicas are connected (min-replicas-to-write): restore them",
    "NOAUTH": "it wants a password: put it into the URL of consumer.store",
    "WRONGPASS": "user or password is wrong: check the URL of consumer.store",
    "NOPERM": "give this user the rights that docs/stores.md lists under Redis",
    "MOVED": "it is a cluster and another node has this group's slot: point consumer.store at it",
    "CROSSSLOT": "a handler's key lies in another slot: see docs/stores.md, Redis, Cluster",
    "CLUSTERDOWN": "its cluster is down: see CLUSTER INFO",
    "ERR max number of clients": "raise its maxclients",
}


class RedisServer:
    """One client for all threads, and the prefix of a group's keys."""

    def __init__(self, url: str, group: str) -> None:
        options = _options(url)
        address = f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        self.name = f"Redis store {address}/{options.get('db', 0)}"
        # The braces make all keys of a group one slot of a cluster.
        self.prefix = f"{{hookline:{group}}}:".encode()
        self._client: Any = redis.Redis(connection_pool=redis.ConnectionPool(**options))
        self._scripts: dict[ScriptName, Script] = {
            name: self._client.register_script(text) for name, text in SCRIPTS.items()
        }

    def key(self, name: str | bytes) -> bytes:
        """The full name of one of the group's keys."""
        return self.prefix + (name if isinstance(name, bytes) else name.encode())

    def run(self, name: ScriptName, *args: Any, keys: Sequence[bytes] = ()) -> Any:
        """Run a script: EVALSHA, and EVAL's way if Redis has not got it yet."""
        with self.translated():
            return self._scripts[name](keys=[self.prefix, *keys], args=list(args))

    def call(self, *command: Any) -> Any:
        """One command."""
        with self.translated():
            return self._client.execute_command(*command)

    def pipeline(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Several reads in one round trip."""
        with self.translated():
            pipe = self._client.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            answers: list[Any] = pipe.execute()
            return answers

    def partitions(self) -> list[bytes]:
        """The names of all partitions that were ever claimed."""
        found = self.call("HGETALL", self.key("partitions"))
        return list(found) if isinstance(found, dict) else found[::2]

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn redis-py's errors into StoreUnavailable (or StatementFailed), with what to do."""
        try:
            yield
        except redis.RedisError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: redis.RedisError) -> StoreError:
        # redis-py cuts the code off some messages and makes it a class.
        text = str(error)
        code = _CODES.get(type(error).__name__, "")
        start = f"{code} {text}" if code and not text.startswith(code) else text
        advice = next(
            (advice for prefix, advice in _ADVICE.items() if start.startswith(prefix)),
            "check that it runs and can be reached",
        )
        if start.startswith("CROSSSLOT"):
            # A handler's mistake, which no waiting mends: its event fails, not the batch.
            return StatementFailed(f"{self.name}: {start}; {advice}")
        return StoreUnavailable(
            f"{self.name}: {start}; events wait in Kafka and are tried again. What to do: {advice}"
        )

    def check(self) -> None:
        """StoreUnavailable if this Redis is too old, or the store is of a newer Hookline."""
        info = self.call("INFO", "server")
        found = str(info["redis_version"])
        if tuple(int(part) for part in found.split(".")[:2]) < _OLDEST:
            raise StoreUnavailable(
                f"{self.name} is version {found}: use Redis 7.0 or newer, or Valkey"
            )
        status, value = self.run("open", VERSION)
        if status == b"NOPERM":
            raise self._unavailable(NoPermissionError(f"this user may not run {value.decode()}"))
        version = int(value)
        if version > VERSION:
            raise StoreUnavailable(
                f"{self.name} has store version {version}, this build knows {VERSION}: "
                "start the Hookline version that wrote it, or a newer one"
            )

    def warn(self) -> None:
        """One warning with all that weakens promise P2 in this server's settings."""
        weak = self._weaknesses()
        if weak:
            log.warning(
                "%s: %s. Effects, ids and progress are lost together or not at all, so nothing is "
                "applied twice or skipped in Redis; but what handlers did outside is repeated, "
                "and what others have read may be taken back (docs/stores.md, Redis)",
                self.name,
                "; ".join(weak),
            )

    def _weaknesses(self) -> list[str]:
        persistence = self.call("INFO", "persistence")
        memory = self.call("INFO", "memory")
        weak: list[str] = []
        if not persistence.get("aof_enabled"):
            weak.append("appendonly is off: a restart goes back to the last snapshot, if any")
        elif (fsync := self._setting("appendfsync")) != "always":
            weak.append(
                f"appendfsync is {fsync or 'not readable by this user'}, not always: "
                "a power cut loses the last seconds"
            )
        policy = str(memory.get("maxmemory_policy", ""))
        if policy.startswith("allkeys"):
            weak.append(
                f"maxmemory-policy is {policy}: when memory is full Redis drops seen ids and "
                "progress, AND EVENTS ARE APPLIED TWICE; set noeviction"
            )
        entries = self._setting("hash-max-listpack-entries")
        if entries and int(entries) < 256:
            weak.append(
                f"hash-max-listpack-entries is {entries}: seen ids take three times the memory; "
                "leave it at 512"
            )
        return weak

    def _setting(self, name: str) -> str:
        # Managed services often refuse CONFIG.
        try:
            answer = self._client.execute_command("CONFIG", "GET", name)
        except redis.ResponseError:
            return ""
        values = [v.decode() if isinstance(v, bytes) else str(v) for v in _flat(answer)]
        return values[1] if len(values) > 1 else ""


_CODES: Final = {
    "OutOfMemoryError": "OOM",
    "BusyLoadingError": "LOADING",
    "ReadOnlyError": "READONLY",
    "MasterDownError": "MASTERDOWN",
    "AuthenticationError": "WRONGPASS",
    "AuthenticationWrongNumberOfArgsError": "WRONGPASS",
    "NoPermissionError": "NOPERM",
    "MovedError": "MOVED",
    "ClusterDownError": "CLUSTERDOWN",
    "ClusterCrossSlotError": "CROSSSLOT",
    "MaxConnectionsError": "ERR max number of clients",
}


def _flat(answer: Any) -> list[Any]:
    if isinstance(answer, dict):
        return [part for pair in answer.items() for part in pair]
    return list(answer)


def _options(url: str) -> dict[str, Any]:
    """redis-py's options for a URL; ConfigurationError without quoting it, as it has a password."""
    advice = (
        "consumer.store: this is no Redis URL; write redis://USER:PASSWORD@HOST:PORT/DB, or "
        "rediss:// for TLS, with special characters of the password as %XX"
    )
    try:
        if urlsplit(url).scheme not in ("redis", "rediss"):
            raise ConfigurationError(advice)
        options = dict(_parse(url))
    except ValueError:
        # The parser quotes what it trips over, which may be the password.
        raise ConfigurationError(advice) from None
    options.setdefault("socket_timeout", _TIMEOUT_S)
    options.setdefault("socket_connect_timeout", _TIMEOUT_S / 2)
    return options | {
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "retry_on_error": [],
        "decode_responses": False,
        "protocol": 2,
        "client_name": "hookline-consumer",
    }
