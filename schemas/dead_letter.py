"""What could not be processed, kept whole with its reason: quarantined or given up on."""

from __future__ import annotations

import msgspec


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter. `reason` is a code of a closed set; `detail` never quotes the payload."""

    reason: str
    died_at_us: int
    stage: str = "UNKNOWN"
    request_id: bytes | None = None
    connection: str = ""
    group: str = ""
    detail: str = ""
    attempts: int = 0
    topic: str = ""
    partition: int = -1
    offset: int = -1
    key: bytes | None = None
    value: bytes | None = None
    headers: dict[str, str] = {}
