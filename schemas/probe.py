"""What marks a synthetic webhook: its type. Nothing that handles events takes one unasked."""

from __future__ import annotations

from typing import Final

#: Behind the provider's name and a dot, as every type: `github.hookline.probe`.
PROBE: Final = "hookline.probe"
#: Their resources: so many keys, so that all partitions get some.
RESOURCES: Final = 64


def is_probe(event_type: str) -> bool:
    """Whether an event is a probe of ours. Its signature says that no stranger made it."""
    return event_type.endswith(f".{PROBE}")
