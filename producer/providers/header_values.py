"""Headers that a decision rests on: one value or none.

A repeated header is refused, because another reader (a proxy, a log) may take the other value.
"""

from __future__ import annotations

from producer.providers.provider import Headers, Refused


def single(headers: Headers, name: str, missing: Refused, repeated: Refused) -> str | Refused:
    """The only value of this header, or the refusal that fits."""
    values = headers.get_all(name)
    if len(values) == 1:
        return values[0]
    return repeated if values else missing


def any_repeated(headers: Headers, names: tuple[str, ...]) -> bool:
    """Whether one of these headers has more than one value."""
    # A loop: a generator costs more than the look-ups, on every request.
    for name in names:  # noqa: SIM110
        if len(headers.get_all(name)) > 1:
            return True
    return False
