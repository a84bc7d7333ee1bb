"""Reads version 1 of the envelope straight from its bytes: a third of a general reader's time.

Every consumer decodes every event, and a reader that looks each field up in a schema takes longer
for it than all the rest of the consumer. Rule: what is unusual in any way (a long length, a count
below zero, a byte too few or too many) gives None, and the general reader decides.

Avro 1.12 specification, "Binary encoding": a long is zig-zag and base 128, a string or bytes is
its length and its bytes, a union its branch and the value.
"""

from __future__ import annotations

from typing import Final

from schemas.event import Event

#: Of environment, tenant, connection, provider as they follow each other: few, and in all events.
_Origin = tuple[str, str, str, str]
_origins: dict[bytes, _Origin] = {}
_ORIGINS_KEPT: Final = 4096
_START: Final = 10
_SOURCES: Final = ("UNKNOWN", "WEBHOOK", "POLL")


def read_event(data: bytes) -> Event | None:
    """The event of a whole record, marker and fingerprint included; None if in doubt."""
    try:
        return _read(data)
    # A short record, or text that is no UTF-8.
    except (IndexError, UnicodeDecodeError):
        return None


def _read(data: bytes) -> Event | None:
    # Written out, string by string: a loop and a list would cost a fifth of it all.
    start = at = _START + 16
    size1 = data[at]
    at += 1 + (size1 >> 1)
    size2 = data[at]
    at += 1 + (size2 >> 1)
    size3 = data[at]
    at += 1 + (size3 >> 1)
    size4 = data[at]
    at += 1 + (size4 >> 1)
    if (size1 | size2 | size3 | size4) & 0x81:
        return None
    origin = _origins.get(data[start:at])
    if origin is None:
        origin = _read_origin(data, start, at)
    # event_id
    size = data[at]
    at += 1
    if size & 0x81:
        if size & 1 or data[at] > 127:
            return None
        size += (data[at] - 1) << 7
        at += 1
    end = at + (size >> 1)
    event_id = data[at:end].decode()
    # event_type
    size = data[end]
    if size & 0x81:
        return None
    at = end + 1 + (size >> 1)
    event_type = data[end + 1 : at].decode()
    # resource_type
    size = data[at]
    if size & 0x81:
        return None
    end = at + 1 + (size >> 1)
    resource_type = data[at + 1 : end].decode()
    # resource_id
    size = data[end]
    at = end + 1
    if size & 0x81:
        if size & 1 or data[at] > 127:
            return None
        size += (data[at] - 1) << 7
        at += 1
    end = at + (size >> 1)
    resource_id = data[at:end].decode()
    # resource_version, occurred_at
    branch = data[end]
    at = end + 1
    version: int | None = None
    if branch == 2:
        version, at = _long(data, at)
    elif branch:
        return None
    branch = data[at]
    at += 1
    occurred_at_us: int | None = None
    if branch == 2:
        occurred_at_us, at = _moment(data, at)
    elif branch:
        return None
    received_at_us, at = _moment(data, at)
    source = data[at]
    if source > 4 or source & 1:
        return None
    # secret_name, content_type
    at += 1
    size = data[at]
    if size & 0x81:
        return None
    end = at + 1 + (size >> 1)
    secret_name = data[at + 1 : end].decode()
    size = data[end]
    if size & 0x81:
        return None
    at = end + 1 + (size >> 1)
    content_type = data[end + 1 : at].decode()
    headers: dict[str, str] = {}
    if data[at]:
        count = data[at]
        if count & 0x81:
            # Many, or a block that is followed by its size in bytes.
            return None
        at += 1
        for _ in range(count >> 1):
            size = data[at]
            if size & 0x81:
                return None
            end = at + 1 + (size >> 1)
            name = data[at + 1 : end].decode()
            size, at = _long(data, end)
            if size < 0:
                return None
            end = at + size
            headers[name] = data[at:end].decode()
            at = end
        if data[at]:
            return None
    size, at = _long(data, at + 1)
    if size < 0:
        return None
    payload = data[at : at + size]
    read_ns, at = _long(data, at + size)
    verify_ns, at = _long(data, at)
    identify_ns, at = _long(data, at)
    if at != len(data):
        return None
    return Event(
        request_id=data[_START:start],
        environment=origin[0],
        tenant=origin[1],
        connection=origin[2],
        provider=origin[3],
        event_id=event_id,
        event_type=event_type,
        resource_type=resource_type,
        resource_id=resource_id,
        resource_version=version,
        occurred_at_us=occurred_at_us,
        received_at_us=received_at_us,
        source=_SOURCES[source >> 1],
        secret_name=secret_name,
        content_type=content_type,
        headers=headers,
        payload=payload,
        read_ns=read_ns,
        verify_ns=verify_ns,
        identify_ns=identify_ns,
    )


def _read_origin(data: bytes, start: int, end: int) -> _Origin:
    texts = []
    at = start
    while at < end:
        size = data[at] >> 1
        texts.append(data[at + 1 : at + 1 + size].decode())
        at += 1 + size
    origin = (texts[0], texts[1], texts[2], texts[3])
    # Connections are configured, but what is on a topic may come from anybody.
    if len(_origins) >= _ORIGINS_KEPT:
        _origins.clear()
    _origins[data[start:end]] = origin
    return origin


def _long(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    at += 1
    if byte < 128:
        return (byte >> 1) ^ -(byte & 1), at
    value = byte & 127
    shift = 7
    while True:
        byte = data[at]
        at += 1
        if shift > 63:
            # Longer than 64 bits: no long, however far it goes on.
            raise IndexError
        if byte < 128:
            value |= byte << shift
            return (value >> 1) ^ -(value & 1), at
        value |= (byte & 127) << shift
        shift += 7


def _moment(data: bytes, at: int) -> tuple[int, int]:
    """A long of eight bytes, as today's microseconds are: without a loop over them."""
    value = int.from_bytes(data[at : at + 8], "little")
    if value & 0x8080808080808080 != 0x0080808080808080 or value & 1:
        return _long(data, at)
    value &= 0x7F7F7F7F7F7F7F7F
    # Close the gaps of one bit between the sevens, then of two between the fourteens, of four.
    value = (value & 0x007F007F007F007F) | (value & 0x7F007F007F007F00) >> 1
    value = (value & 0x00003FFF00003FFF) | (value & 0x3FFF00003FFF0000) >> 2
    value = (value & 0x000000000FFFFFFF) | (value & 0x0FFFFFFF00000000) >> 4
    return value >> 1, at + 8
