"""Avro single-object encoding: C3 01, the schema's CRC-64 fingerprint, the record's bytes.

A reader finds the writer's version by the fingerprint, so old and new processes share a topic
without a registry (Avro 1.12 specification, "Single-object encoding").
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from importlib import resources
from io import BytesIO
from typing import Any, Final, Generic, TypeVar, cast

import fastavro
import msgspec
from fastavro.schema import fingerprint, to_parsing_canonical_form

from schemas.connection import Connection, ConnectionState, SecretReference
from schemas.connection_record import ConnectionRecord, Revocation, Writer
from schemas.dead_letter import DeadLetter
from schemas.errors import NotSingleObject, Undecodable, UnknownSchema
from schemas.event import Event
from schemas.event_bytes import read_event
from schemas.event_writer import write_event

MARKER: Final = b"\xc3\x01"
PREFIX_BYTES: Final = 10

T = TypeVar("T")


def load_schemas(name: str) -> dict[int, dict[str, Any]]:
    """Every released version of a record's schema: {version: schema}, from `avro/`."""
    versions: dict[int, dict[str, Any]] = {}
    for file in resources.files("schemas").joinpath("avro").iterdir():
        if match := re.fullmatch(rf"{re.escape(name)}\.v(\d+)\.avsc", file.name):
            versions[int(match[1])] = json.loads(file.read_text("utf-8"))
    return dict(sorted(versions.items()))


def schema_prefix(schema: dict[str, Any]) -> bytes:
    """The ten bytes that open every record of this schema."""
    # fastavro writes the fingerprint's hex in the byte order of this prefix, little-endian.
    return MARKER + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def _without_logical_types(schema: Any) -> Any:
    # The bytes are the same, and fastavro then hands over plain integers: making an aware
    # datetime for each of three fields costs more than all the rest of the decoding.
    if isinstance(schema, dict):
        return {k: _without_logical_types(v) for k, v in schema.items() if k != "logicalType"}
    if isinstance(schema, list):
        return [_without_logical_types(item) for item in schema]
    return schema


class Codec(Generic[T]):
    """Encodes to the newest of `schemas` and decodes any of them."""

    def __init__(
        self,
        schemas: Mapping[int, dict[str, Any]],
        to_record: Callable[[T], dict[str, Any]],
        from_record: Callable[[dict[str, Any]], T],
        straight: tuple[int, Callable[[bytes], T | None]] | None = None,
        write: tuple[int, Callable[[bytes, T], bytes | None]] | None = None,
    ) -> None:
        """`straight` and `write`: a faster reader and writer of one version.

        Where they give None, the schema decides. `write` is given the prefix and the value.
        """
        plain = {version: _without_logical_types(schema) for version, schema in schemas.items()}
        newest = max(plain)
        self._newest = fastavro.parse_schema(plain[newest])
        self._prefix = schema_prefix(schemas[newest])
        self._writers: dict[bytes, Any] = {
            schema_prefix(schemas[version]): (
                self._newest if version == newest else fastavro.parse_schema(plain[version])
            )
            for version in plain
        }
        self._straight_prefix, self._straight = b"", None
        if straight is not None:
            self._straight_prefix, self._straight = schema_prefix(schemas[straight[0]]), straight[1]
        # Only of the newest: that is what is written.
        self._write = write[1] if write is not None and write[0] == newest else None
        self._to_record = to_record
        self._from_record = from_record

    def encode(self, value: T) -> bytes:
        """The record's bytes, prefix first."""
        if self._write is not None:
            written = self._write(self._prefix, value)
            if written is not None:
                return written
        buffer = BytesIO()
        buffer.write(self._prefix)
        fastavro.schemaless_writer(buffer, self._newest, self._to_record(value))
        return buffer.getvalue()

    def decode(self, data: bytes) -> T:
        """The record; NotSingleObject, UnknownSchema or Undecodable when it cannot be read."""
        if self._straight is not None and data[:PREFIX_BYTES] == self._straight_prefix:
            value = self._straight(data)
            if value is not None:
                return value
        if data[:2] != MARKER or len(data) < PREFIX_BYTES:
            raise NotSingleObject(
                f"{len(data)} bytes that do not start with the Avro single-object marker: "
                "another program writes to this topic, or writes without Hookline's codec"
            )
        writer = self._writers.get(data[:PREFIX_BYTES])
        if writer is None:
            raise UnknownSchema(
                f"schema fingerprint {data[2:PREFIX_BYTES][::-1].hex()} is of no version that "
                "this build knows: upgrade the readers before the writers"
            )
        buffer = BytesIO(data)
        buffer.seek(PREFIX_BYTES)
        try:
            if writer is self._newest:
                record = fastavro.schemaless_reader(buffer, writer, None)
            else:
                record = fastavro.schemaless_reader(buffer, writer, self._newest)
            if buffer.tell() != len(data):
                raise Undecodable(f"{len(data) - buffer.tell()} bytes follow the record")
            return self._from_record(cast("dict[str, Any]", record))
        except Undecodable:
            raise
        # fastavro raises whatever its readers trip over: EOFError, IndexError, UnicodeDecodeError,
        # ValueError, MemoryError for an absurd length, OverflowError. All mean the same here.
        except Exception as error:
            raise Undecodable(
                f"{len(data)} bytes do not follow their schema ({type(error).__name__})"
            ) from None


def _event_to_record(event: Event) -> dict[str, Any]:
    return {
        "request_id": event.request_id,
        "environment": event.environment,
        "tenant": event.tenant,
        "connection": event.connection,
        "provider": event.provider,
        "event_id": event.event_id,
        "event_type": event.event_type,
        "resource_type": event.resource_type,
        "resource_id": event.resource_id,
        "resource_version": event.resource_version,
        "occurred_at": event.occurred_at_us,
        "received_at": event.received_at_us,
        "source": event.source,
        "secret_name": event.secret_name,
        "content_type": event.content_type,
        "headers": event.headers,
        "payload": event.payload,
        "read_ns": event.read_ns,
        "verify_ns": event.verify_ns,
        "identify_ns": event.identify_ns,
    }


def _event_from_record(record: dict[str, Any]) -> Event:
    record["occurred_at_us"] = record.pop("occurred_at")
    record["received_at_us"] = record.pop("received_at")
    return Event(**record)


def _dead_letter_to_record(letter: DeadLetter) -> dict[str, Any]:
    names = letter.__struct_fields__
    record = {name: getattr(letter, name) for name in names if name != "died_at_us"}
    return record | {"died_at": letter.died_at_us}


def _dead_letter_from_record(record: dict[str, Any]) -> DeadLetter:
    record["died_at_us"] = record.pop("died_at")
    return DeadLetter(**record)


def _connection_to_record(record: ConnectionRecord) -> dict[str, Any]:
    connection = record.connection
    return {
        "id": connection.id,
        "tenant": connection.tenant,
        "provider": connection.provider,
        "environment": connection.environment,
        "secrets": [
            {
                "name": secret.name,
                "ref": secret.ref,
                "not_before": _to_us(secret.not_before_s),
                "not_after": _to_us(secret.not_after_s),
                "environment": secret.environment,
            }
            for secret in connection.secrets
        ],
        "options": msgspec.json.encode(connection.options).decode(),
        "state": connection.state.name,
        "written_by": record.written_by.name,
        "file_digest": record.file_digest,
        "changed_at": record.changed_at_us,
        "changed_by": record.changed_by,
    }


def _connection_from_record(record: dict[str, Any]) -> ConnectionRecord:
    return ConnectionRecord(
        connection=Connection(
            id=record["id"],
            tenant=record["tenant"],
            provider=record["provider"],
            environment=record["environment"],
            secrets=tuple(
                SecretReference(
                    name=secret["name"],
                    ref=secret["ref"],
                    not_before_s=_to_s(secret["not_before"]),
                    not_after_s=_to_s(secret["not_after"]),
                    environment=secret["environment"],
                )
                for secret in record["secrets"]
            ),
            options=msgspec.json.decode(record["options"], type=dict[str, Any]),
            # A state or a writer of a later version is none that we may guess at: undecodable.
            state=ConnectionState[record["state"]],
        ),
        written_by=Writer[record["written_by"]],
        file_digest=record["file_digest"],
        changed_at_us=record["changed_at"],
        changed_by=record["changed_by"],
    )


def _to_us(at_s: float | None) -> int | None:
    return None if at_s is None else round(at_s * 1_000_000)


def _to_s(at_us: int | None) -> float | None:
    return None if at_us is None else at_us / 1_000_000


def _revocation_to_record(revocation: Revocation) -> dict[str, Any]:
    names = revocation.__struct_fields__
    record = {name: getattr(revocation, name) for name in names if name != "revoked_at_us"}
    return record | {"revoked_at": revocation.revoked_at_us}


def _revocation_from_record(record: dict[str, Any]) -> Revocation:
    record["revoked_at_us"] = record.pop("revoked_at")
    return Revocation(**record)


EVENT: Final = Codec[Event](
    load_schemas("event"),
    _event_to_record,
    _event_from_record,
    straight=(1, read_event),
    write=(1, write_event),
)
DEAD_LETTER: Final = Codec[DeadLetter](
    load_schemas("dead_letter"), _dead_letter_to_record, _dead_letter_from_record
)
CONNECTION: Final = Codec[ConnectionRecord](
    load_schemas("connection"), _connection_to_record, _connection_from_record
)
REVOCATION: Final = Codec[Revocation](
    load_schemas("revocation"), _revocation_to_record, _revocation_from_record
)
