"""The Redis commands that a handler may use, and what their arguments must look like.

Lua does not roll back, so an effect must not fail once the script has begun to write: here the
arguments are checked, and in `redis_lua/check.lua` the keys that they meet. A command is in both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from schemas.errors import HandlerError, TransactionEnded

Effect = tuple[bytes, ...]

#: Lua cannot hand over more than some 8,000 values.
_MOST_ARGUMENTS: Final = 2_000
_LARGEST: Final = 2**63 - 1
_ENDING: Final = frozenset({"MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH"})
_OURS: Final = b"{hookline:"


class _Shape(NamedTuple):
    fixed: str
    #: A group of arguments that comes once or more often.
    repeated: str = ""


# k a key, v any value, i an integer, n a count (0 or more), p above 0, t a time, f a finite
# number, s a score (may be infinite), r an end of a range of scores, b a bit, w BEFORE or AFTER.
_SHAPES: Final = {
    "HSET": _Shape("k", "vv"), "HSETNX": _Shape("kvv"), "HDEL": _Shape("k", "v"),
    "HINCRBY": _Shape("kvi"), "HINCRBYFLOAT": _Shape("kvf"),
    "SET": _Shape("kv"), "SETNX": _Shape("kv"), "SETEX": _Shape("kpv"), "PSETEX": _Shape("kpv"),
    "MSET": _Shape("", "kv"), "SETBIT": _Shape("kob"),
    "INCR": _Shape("k"), "INCRBY": _Shape("ki"), "INCRBYFLOAT": _Shape("kf"),
    "DECR": _Shape("k"), "DECRBY": _Shape("ki"),
    "LPUSH": _Shape("k", "v"), "RPUSH": _Shape("k", "v"), "LPUSHX": _Shape("k", "v"),
    "RPUSHX": _Shape("k", "v"), "LPOP": _Shape("k"), "RPOP": _Shape("k"), "LTRIM": _Shape("kii"),
    "LREM": _Shape("kiv"), "LINSERT": _Shape("kwvv"),
    "SADD": _Shape("k", "v"), "SREM": _Shape("k", "v"), "SMOVE": _Shape("kkv"),
    "ZADD": _Shape("k", "sv"), "ZINCRBY": _Shape("kfv"), "ZREM": _Shape("k", "v"),
    "ZREMRANGEBYRANK": _Shape("kii"), "ZREMRANGEBYSCORE": _Shape("krr"),
    "XADD": _Shape("k*", "vv"),
    "DEL": _Shape("", "k"), "UNLINK": _Shape("", "k"), "EXPIRE": _Shape("kt"),
    "PEXPIRE": _Shape("kt"), "EXPIREAT": _Shape("kt"), "PEXPIREAT": _Shape("kt"),
    "PERSIST": _Shape("k"), "PUBLISH": _Shape("vv"),
}  # fmt: skip
#: Options, which stand before the last shape's arguments or, for SET, behind them.
_ZADD_OPTIONS: Final = frozenset({b"NX", b"XX", b"GT", b"LT"})
_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}")


def encode(command: str, arguments: Sequence[Any] | Mapping[str, Any]) -> Effect:
    """The command as bytes; HandlerError (or TransactionEnded) that says why it cannot be one."""
    name = command.strip().upper()
    if name in _ENDING:
        raise TransactionEnded(
            f"a handler may not run {name}: its commands already commit together with the note "
            "that the event is done; raise an exception to take this event's effect back"
        )
    shape = _SHAPES.get(name)
    if shape is None:
        raise HandlerError(
            f"{name.partition(' ')[0]!r} is no command for a handler's transaction on Redis. It "
            f"takes these, the arguments apart from the name: {', '.join(sorted(_SHAPES))}. For "
            "others, and to read, use your own client in an external handler"
        )
    if isinstance(arguments, (Mapping, str, bytes)):
        raise HandlerError(f'{name}: give the arguments as a sequence: tx.execute("{name}", (…,))')
    given = [_bytes(name, argument) for argument in arguments]
    if len(given) > _MOST_ARGUMENTS:
        raise HandlerError(
            f"{name} has {len(given)} arguments, at most {_MOST_ARGUMENTS} go into one command: "
            "split it"
        )
    plain = _without_options(name, given)
    _check(name, shape, plain)
    return (name.encode(), *given)


def keys(effect: Effect) -> set[bytes]:
    """The keys that an effect touches."""
    name = effect[0].decode()
    shape = _SHAPES[name]
    found = {effect[1 + i] for i, kind in enumerate(shape.fixed) if kind == "k"}
    if "k" in shape.repeated:
        found.update(effect[1 :: len(shape.repeated)])
    return found


def _bytes(name: str, argument: Any) -> bytes:
    if isinstance(argument, bytes):
        return argument
    if isinstance(argument, str):
        return argument.encode()
    if isinstance(argument, (int, float)) and not isinstance(argument, bool):
        return repr(argument).encode()
    raise HandlerError(
        f"{name}: an argument is {type(argument).__name__}; Redis takes bytes, str, int and float"
    )


def _without_options(name: str, given: list[bytes]) -> list[bytes]:
    if name == "SET" and len(given) > 2:
        options = [word.upper() for word in given[2:]]
        given[2:] = options
        condition = [w for w in options if w in (b"NX", b"XX")]
        rest = [w for w in options if w not in (b"NX", b"XX")]
        timed = (
            len(rest) == 2 and rest[0] in (b"EX", b"PX", b"EXAT", b"PXAT") and _fits("p", rest[1])
        )
        if len(condition) > 1 or not (timed or rest in ([], [b"KEEPTTL"])):
            raise HandlerError(
                "SET takes NX or XX, and KEEPTTL or one of EX, PX, EXAT, PXAT with a time"
            )
        return given[:2]
    if name == "ZADD":
        at = 1
        while at < len(given) and given[at].upper() in _ZADD_OPTIONS | {b"CH"}:
            at += 1
        if sum(word.upper() in _ZADD_OPTIONS for word in given[1:at]) > 1:
            raise HandlerError("ZADD takes at most one of NX, XX, GT, LT")
        return given[:1] + given[at:]
    if name == "XADD" and len(given) > 1 and given[1].upper() == b"MAXLEN":
        at = 3 if len(given) > 2 and given[2] in (b"~", b"=") else 2
        if len(given) <= at or not _fits("n", given[at]):
            raise HandlerError("XADD: MAXLEN, perhaps ~, and a number")
        return given[:1] + given[at + 1 :]
    if name in ("LPOP", "RPOP") and len(given) == 2 and _fits("n", given[1]):
        return given[:1]
    return given


def _check(name: str, shape: _Shape, given: list[bytes]) -> None:
    kinds = shape.fixed
    left = len(given) - len(kinds)
    if shape.repeated and left > 0 and left % len(shape.repeated) == 0:
        kinds += shape.repeated * (left // len(shape.repeated))
    if len(kinds) != len(given) or (shape.repeated and left <= 0):
        raise HandlerError(f"{name} has {len(given)} arguments, which is not how it is called")
    for place, (kind, argument) in enumerate(zip(kinds, given, strict=True), 1):
        if kind == "k" and argument.startswith(_OURS):
            raise HandlerError(
                f"{name}: keys that begin with {_OURS.decode()} are the consumer's own; name yours "
                "otherwise (on a cluster: orders:{hookline:GROUP})"
            )
        if not _fits(kind, argument):
            raise HandlerError(f"{name}: argument {place} must be {_WANTED[kind]}")


_WANTED: Final = {
    "i": "an integer of 64 bits", "n": "a count", "p": "an integer above 0",
    "t": "an integer that is a time", "f": "a finite number", "s": "a number",
    "r": "a score, (score, -inf or +inf", "b": "0 or 1", "o": "a bit's place below 2^32",
    "w": "BEFORE or AFTER", "*": "* (Redis gives the id)",
}  # fmt: skip


def _fits(kind: str, argument: bytes) -> bool:
    if kind in "kv":
        return True
    if kind in "fsr":
        text = argument[1:] if kind == "r" and argument.startswith(b"(") else argument
        return _number(text, finite=kind == "f")
    if kind == "w":
        return argument.upper() in (b"BEFORE", b"AFTER")
    if kind == "*":
        return argument == b"*"
    if not _INTEGER.fullmatch(argument):
        return False
    number = int(argument)
    return {
        # The smallest is left out: DECRBY cannot turn it round.
        "i": -_LARGEST <= number <= _LARGEST,
        "n": 0 <= number <= _LARGEST,
        "p": 0 < number < 10**15,
        "t": -(10**15) < number < 10**15,
        "b": number in (0, 1),
        "o": 0 <= number < 2**32,
    }[kind]


def _number(text: bytes, *, finite: bool) -> bool:
    # float() takes more than Redis does: spaces, underscores, "nan".
    if not re.fullmatch(rb"[-+]?(?:inf|[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+)", text):
        return False
    number = float(text)
    return abs(number) < 1e300 or (not finite and math.isinf(number) and b"inf" in text)
