"""The Lua scripts of the Redis store: each is some files of `redis_lua/`, with flags for Redis."""

from __future__ import annotations

from importlib import resources
from typing import Final, Literal

ScriptName = Literal[
    "open", "claim", "commit", "try_effects", "seen", "applied", "touched", "expire",
    "redrive", "discard", "retry", "load", "layout",
]  # fmt: skip

# Flags (Redis 7): `no-writes` may run on a full or read-only server; without `allow-oom` a script
# is refused before its first line when memory is full, so it is never half done.
_PARTS: Final[dict[ScriptName, tuple[str, tuple[str, ...]]]] = {
    "open": ("", ("arguments", "open")),
    "claim": ("", ("arguments", "held", "claim")),
    "commit": ("", ("arguments", "ids", "parked", "held", "check", "commit")),
    "try_effects": ("no-writes", ("arguments", "check", "try_effects")),
    "seen": ("no-writes", ("arguments", "ids", "seen")),
    "applied": ("no-writes", ("arguments", "ids", "applied")),
    "touched": ("no-writes", ("arguments", "touched")),
    "expire": ("allow-oom", ("arguments", "ids", "held", "expire")),
    "redrive": ("", ("arguments", "ids", "parked", "redrive")),
    "discard": ("allow-oom", ("arguments", "discard")),
    "retry": ("", ("arguments", "parked", "retry")),
    "load": ("no-writes", ("arguments", "load")),
    "layout": ("", ("arguments", "layout")),
}


def _script(flags: str, parts: tuple[str, ...]) -> str:
    folder = resources.files("consumer.stores").joinpath("redis_lua")
    texts = [folder.joinpath(f"{part}.lua").read_text("utf-8") for part in parts]
    return "\n".join([f"#!lua flags={flags}" if flags else "#!lua", *texts])


SCRIPTS: Final[dict[ScriptName, str]] = {
    name: _script(flags, parts) for name, (flags, parts) in _PARTS.items()
}
