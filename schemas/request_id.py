"""The request id: 48 bits of Unix time in ms, then 80 random bits; it is also the trace id.

Not UUIDv7: its fixed variant bits sit at the top of the low 64 bits, which a
`TraceIdRatioBased` sampler compares with its bound, so that at 50 % or less it would sample
nothing. Here the low 64 bits are all random (W3C Trace Context level 2 asks for the low 56).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

SIZE_BYTES: Final = 16
RANDOM_BYTES: Final = 10

#: The request that the current code works for; log records and new root spans take it from here.
current_request_id: ContextVar[bytes | None] = ContextVar("hookline_request_id", default=None)


def make(unix_ms: int, random: bytes) -> bytes:
    """A request id, 16 bytes, from the time in ms and 10 random bytes."""
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a request id needs {RANDOM_BYTES} random bytes, not {len(random)}")
    return (unix_ms & 0xFFFFFFFFFFFF).to_bytes(6, "big") + random


def parse(text: str) -> bytes:
    """The request id that 32 hex digits stand for; ValueError for anything else."""
    if len(text) != 2 * SIZE_BYTES:
        raise ValueError("a request id is 32 hex digits")
    return bytes.fromhex(text)


def unix_ms(request_id: bytes) -> int:
    """When the request was received, in ms since 1970."""
    return int.from_bytes(request_id[:6], "big")


def trace_id(request_id: bytes) -> int:
    """The same 128 bits as OpenTelemetry's integer trace id."""
    return int.from_bytes(request_id, "big")


def sampled(request_id: bytes, bound: int) -> bool:
    """What `TraceIdRatioBased` decides for this id; `bound` is ratio * 2**64."""
    return int.from_bytes(request_id[8:], "big") < bound


def server_span_id(request_id: bytes) -> bytes:
    """The gateway's SERVER span of a request that is not sampled, if it is made afterwards."""
    return request_id[2:10]


def send_span_id(request_id: bytes) -> bytes:
    """Its PRODUCER span: in the traceparent that the log carries, so that nobody has to keep it."""
    return request_id[8:]
