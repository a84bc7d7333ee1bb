"""Connections and records for tests."""

from __future__ import annotations

from typing import Any

from producer.connections.seeding import digest
from schemas.codec import CONNECTION, REVOCATION
from schemas.connection import Connection, SecretReference
from schemas.connection_record import ConnectionRecord, RecordKey, Revocation, Writer

ENVIRONMENT = "test"


def connection(
    name: str = "acme", *, refs: dict[str, str] | None = None, **more: Any
) -> Connection:
    """An active GitHub connection whose secrets are called as the keys of `refs`."""
    secrets = tuple(
        SecretReference(name=n, ref=ref) for n, ref in (refs or {"old": "env:OLD"}).items()
    )
    return Connection(
        **{
            "id": name,
            "tenant": "acme",
            "provider": "github",
            "environment": ENVIRONMENT,
            "secrets": secrets,
            **more,
        }
    )


def record(
    of: Connection, by: Writer = Writer.COMMAND, file: Connection | None = None
) -> tuple[bytes, bytes]:
    """Key and value; `file`: the entry with which the file last had its say."""
    value = ConnectionRecord(
        connection=of, written_by=by, changed_at_us=1, file_digest=digest(file) if file else ""
    )
    return RecordKey(of.environment, of.id).encode(), CONNECTION.encode(value)


def revocation(name: str = "acme", secret: str = "") -> tuple[bytes, bytes]:
    """Key and value."""
    value = Revocation(
        environment=ENVIRONMENT, connection=name, secret_name=secret, revoked_at_us=1
    )
    return RecordKey(ENVIRONMENT, name, True, secret).encode(), REVOCATION.encode(value)
