"""A group commit on Redis: reads at once, writes gathered, and one script at the end of the block.

The reads are protected by the fence in the script: only a partition's owner writes what they
read, and a script of ours whose answer was lost and that arrives late is recognised (`Tokens`),
as long as `owned` is asked before anything else is read.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from consumer.core.staleness import Applied
from consumer.stores import redis_effects
from consumer.stores.contract import Claim, Letter, ParkedEvent, ParkedKey, Partition
from consumer.stores.redis_effects import Effect
from consumer.stores.redis_server import RedisServer
from consumer.stores.transaction import Parameters, Transaction
from schemas.codec import DEAD_LETTER
from schemas.errors import Fenced, HandlerError, StatementFailed, StoreUnavailable

log = logging.getLogger("hookline.consumer")

DAY_S: Final = 86_400
_pack = msgspec.msgpack.encode
_unpack = msgspec.msgpack.decode


class Tokens:
    """The tokens that a partition's last write may carry, as far as this store has written it.

    A token that Redis holds and we do not know means that Redis has gone back to an older state
    (a lost tail after a power cut, a replica that was behind when it took over): what we have in
    memory is ahead of it, and going on from there would leave events out.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Partition, int], set[bytes]] = {}

    def written(self, partition: Partition, epoch: int, token: bytes) -> None:
        """This write has been confirmed: no other can be the last."""
        self._known[partition, epoch] = {token}

    def sent(self, partition: Partition, epoch: int, token: bytes) -> None:
        """This write is on its way: from now on it may be the last."""
        if known := self._known.get((partition, epoch)):
            known.add(token)

    def may_be(self, partition: Partition, epoch: int, token: bytes) -> bool:
        """Whether a last write with this token fits what we know."""
        known = self._known.get((partition, epoch))
        return known is None or token in known


class WriteOnly:
    """What `Transaction.execute` returns here: the command runs when the batch commits."""

    rowcount = -1

    def fetchone(self) -> Any:
        """Nothing can be read: HandlerError."""
        raise HandlerError(
            "effects on Redis are write-only: the command runs when the batch commits, and its "
            "answer is not known before. Read with your own client in an external handler, or "
            "keep the store in SQLite or PostgreSQL"
        )

    def fetchall(self) -> list[Any]:
        """Nothing can be read: HandlerError."""
        self.fetchone()
        raise AssertionError


class RedisCommit:
    """The open block: `finish` runs the script."""

    def __init__(self, server: RedisServer, tokens: Tokens, *, careful: bool) -> None:
        self._server = server
        self._tokens = tokens
        self._careful = careful
        self._effects: list[Effect] = []
        self._savepoint = 0
        self._ops: list[Any] = []
        self._owned: dict[Partition, tuple[Claim, bytes]] = {}
        self._moves: dict[Partition, tuple[Claim, int, int]] = {}
        self._now_s = 0
        self.handle = Transaction(self._execute, self._executemany)

    def owned(self, claims: Sequence[Claim]) -> set[Partition]:
        rows = self._server.pipeline(
            [("HMGET", self._partition_key(c.partition), "epoch", "last") for c in claims]
        )
        for claim, (epoch, last) in zip(claims, rows, strict=True):
            if epoch is None or int(epoch) != claim.epoch:
                continue
            if self._tokens.may_be(claim.partition, claim.epoch, last):
                self._owned[claim.partition] = (claim, last)
            else:
                log.error(
                    "%s has gone back to an older state of %s (a lost tail, or a replica that was "
                    "behind took over): it is claimed anew, from the progress that Redis holds",
                    self._server.name,
                    claim.partition,
                )
        return {c.partition for c in claims if c.partition in self._owned}

    def owner(self, partition: Partition) -> str:
        owner = self._server.call("HGET", self._partition_key(partition), "owner")
        return owner.decode() if owner else ""

    def seen(self, dedupe_ids: Collection[bytes]) -> set[bytes]:
        if not dedupe_ids:
            return set()
        ids = list(dedupe_ids)
        return {ids[n] for n in self._server.run("seen", b"".join(ids))}

    def applied(self, resource_ids: Collection[bytes]) -> Mapping[bytes, Applied]:
        if not resource_ids:
            return {}
        ids = list(resource_ids)
        found = self._server.run("applied", b"".join(ids))
        return {
            ids[n]: Applied(*_unpack(value[2:]))
            for n, value in zip(found[::2], found[1::2], strict=True)
        }

    def savepoint(self) -> None:
        self._savepoint = len(self._effects)

    def keep(self) -> None:
        self._savepoint = len(self._effects)

    def take_back(self) -> None:
        del self._effects[self._savepoint :]

    def remember(self, dedupe_ids: Collection[bytes], now_s: int) -> None:
        if dedupe_ids:
            self._ops += ["remember", now_s // DAY_S, b"".join(dedupe_ids)]

    def note_applied(self, resources: Mapping[bytes, Applied], now_s: int) -> None:
        if not resources:
            return
        day = now_s // DAY_S
        self._ops += ["applied", day, len(resources)]
        for resource_id, x in resources.items():
            value = _pack((x.version, x.occurred_at_us, x.deleted))
            self._ops += [resource_id, day.to_bytes(2, "big") + value]

    def bury(self, letters: Sequence[Letter]) -> None:
        for x in letters:
            about = (
                x.letter.connection,
                x.event_type,
                x.resource_key,
                x.letter.reason,
                x.letter.died_at_us,
            )
            body = (x.dedupe_id, DEAD_LETTER.encode(x.letter), x.traceparent)
            self._ops += ["bury", _pack(about), _pack(body)]

    def park(self, events: Sequence[ParkedEvent], retry_at_ms: int) -> None:
        for event in events:
            self._ops += ["park", *park_arguments(event), retry_at_ms]

    def parked(
        self, partition: Partition, key: bytes, limit: int, max_bytes: int
    ) -> list[ParkedEvent]:
        return read_parked(self._server, partition, key, limit, max_bytes)

    def unpark(self, events: Collection[tuple[Partition, bytes, int]]) -> None:
        for partition, key, offset in events:
            self._ops += ["unpark", member(partition, key), offset]

    def postpone(self, partition: Partition, key: bytes, attempts: int, retry_at_ms: int) -> None:
        self._ops += ["postpone", member(partition, key), attempts, retry_at_ms]

    def touched(self, partitions: Collection[Partition], *, every: bool = False) -> list[ParkedKey]:
        if not partitions:
            return []
        found: list[ParkedKey] = []
        for name, token, record in self._server.run(
            "touched", int(every), *(member(p) for p in partitions)
        ):
            # Taken in the script, and only if nobody touches it again before.
            self._ops += ["taken", name, token]
            found.append(parked_key(name, record))
        return found

    def advance(
        self, claims: Sequence[Claim], positions: Mapping[Partition, int],
        gaps: Mapping[Partition, int], now_s: int,
    ) -> None:  # fmt: skip
        self._now_s = now_s
        for claim in claims:
            position = positions.get(claim.partition)
            if position is not None:
                self._moves[claim.partition] = (claim, position, gaps.get(claim.partition, -1))

    def finish(self) -> None:
        """Write all of it or nothing; Fenced, StatementFailed or StoreUnavailable."""
        if not (self._effects or self._ops or self._moves):
            return
        token = secrets.token_bytes(8)
        fence = self._fence()
        keys: set[bytes] = set()
        for effect in self._effects:
            keys |= redis_effects.keys(effect)
        # From here on the script may run, whether we hear of it or not.
        for claim, _, _ in self._moves.values():
            self._tokens.sent(claim.partition, claim.epoch, token)
        status, *more = self._server.run(
            "commit", *fence, token, self._now_s, *_flat(self._effects), *self._ops, keys=list(keys)
        )
        if status == b"FENCED":
            claim = self._claim_of(more[0])
            raise Fenced(
                f"{claim.partition} has another owner now (ours was epoch {claim.epoch}): "
                "nothing of this batch is written, the new owner continues from its progress"
            )
        if status == b"LATE":
            raise StoreUnavailable(
                f"{self._server.name}: a commit of {self._claim_of(more[0]).partition} whose "
                "answer was lost has arrived after all; nothing of this batch is written, it is "
                "looked up again"
            )
        if status in (b"REFUSED", b"BROKEN"):
            raise StatementFailed(self._failure(int(more[0]), more[1], broken=status == b"BROKEN"))
        for claim, _, _ in self._moves.values():
            self._tokens.written(claim.partition, claim.epoch, token)

    def _fence(self) -> list[Any]:
        """For each partition: name, epoch, last write, position or empty, highest above it."""
        fence: list[Any] = []
        partitions = [*self._owned, *(p for p in self._moves if p not in self._owned)]
        for partition in partitions:
            claim, last = self._owned.get(partition, (None, b""))
            if move := self._moves.get(partition):
                claim = move[0]
            assert claim is not None
            fence += [str_of(partition), claim.epoch, last]
            fence += [move[1], move[2]] if move else ["", -1]
        return [len(partitions), *fence]

    def _claim_of(self, name: bytes) -> Claim:
        claims = [*(c for c, _ in self._owned.values()), *(m[0] for m in self._moves.values())]
        return next(c for c in claims if str_of(c.partition).encode() == name)

    def _execute(self, command: str, arguments: Parameters) -> WriteOnly:
        effect = redis_effects.encode(command, arguments)
        if self._careful:
            self._try(effect)
        self._effects.append(effect)
        return WriteOnly()

    def _executemany(self, command: str, rows: Iterable[Parameters]) -> WriteOnly:
        for row in rows:
            self._execute(command, row)
        return WriteOnly()

    def _try(self, effect: Effect) -> None:
        """Whether it would succeed after the effects before it that touch the same keys."""
        keys = redis_effects.keys(effect)
        before = [e for e in self._effects if keys & redis_effects.keys(e)]
        try:
            number, problem = self._server.run(
                "try_effects", *_flat([*before, effect]), keys=list(keys)
            )
        except StatementFailed as error:
            raise HandlerError(f"{effect[0].decode()} cannot run: {error}") from error
        if number:
            raise HandlerError(f"{effect[0].decode()} cannot run: {_text(problem)}")

    def _failure(self, number: int, problem: bytes, *, broken: bool) -> str:
        name = self._effects[number - 1][0].decode()
        if not broken:
            return (
                f"{name}, an effect of this batch, cannot run: {_text(problem)}; nothing is written"
            )
        return (
            f"{name}, effect {number} of this batch, failed after it was checked: "
            f"{_text(problem)}. The {number - 1} before it ARE written and will be repeated: "
            "please report this"
        )

    def _partition_key(self, partition: Partition) -> bytes:
        return self._server.key(f"partition:{str_of(partition)}")


def str_of(partition: Partition) -> str:
    """A partition as our keys name it."""
    return f"{partition.topic}:{partition.number}"


def member(partition: Partition, key: bytes = b"") -> bytes:
    """A parked key as sorted sets hold it; without a key, what a partition's all begin with."""
    return partition.topic.encode() + b"\0" + partition.number.to_bytes(4, "big") + key


def parked_key(name: bytes, record: bytes) -> ParkedKey:
    """The parked key of a member and its packed record."""
    topic, rest = name.split(b"\0", 1)
    events, attempts, retry_at_ms, *_ = _unpack(record)
    return ParkedKey(
        partition=Partition(topic.decode(), int.from_bytes(rest[:4], "big")),
        key=rest[4:],
        events=events,
        attempts=attempts,
        retry_at_ms=retry_at_ms,
    )


def park_arguments(event: ParkedEvent) -> list[Any]:
    """Member, offset, payload and connection, as the scripts take them."""
    payload = _pack(
        (
            event.offset,
            event.value,
            event.traceparent,
            event.request_id,
            event.connection,
            event.event_type,
            event.reason,
            event.parked_at_ms,
        )
    )
    return [member(event.partition, event.key), event.offset, payload, event.connection]


def read_parked(
    server: RedisServer, partition: Partition, key: bytes, limit: int, max_bytes: int = 2**53
) -> list[ParkedEvent]:
    """The first parked events of a key, by offset; as `GroupCommit.parked`."""
    found = []
    for payload in server.run("load", member(partition, key), limit, max_bytes):
        row = msgspec.msgpack.decode(payload, type=_Row)
        found.append(
            ParkedEvent(
                partition=partition,
                key=key,
                offset=row[0],
                value=row[1],
                traceparent=row[2],
                request_id=row[3],
                connection=row[4],
                event_type=row[5],
                reason=row[6],
                parked_at_ms=row[7],
            )
        )
    return found


_Row = tuple[int, bytes, str, bytes, str, str, str, int]


def _flat(effects: Sequence[Effect]) -> list[Any]:
    flat: list[Any] = [len(effects)]
    for effect in effects:
        flat.append(len(effect))
        flat += effect
    return flat


def _text(problem: bytes) -> str:
    return problem.decode("utf-8", "replace")
