"""What PostgreSQL or libpq said, without anything secret, and what a person can do about it."""

from __future__ import annotations

import re
from typing import Final

import psycopg

from schemas.errors import ConfigurationError

_MASK: Final = "**********"
_LONGEST: Final = 400

#: By class of SQLSTATE (PostgreSQL's documentation, appendix "Error Codes").
_BY_CLASS: Final = {
    "25": "is this server a read-only standby?",
    "28": "check the user in consumer.store and consumer.store_password",
    "3D": "create the database, or correct its name in consumer.store",
    "40": "two transactions were in each other's way",
    "42": "check that this user may use and create in the schema `hookline`",
    "53": "check the server's disk, memory and max_connections",
    "55": "something else holds what is needed",
    "57": "it is stopping or starting, or a statement was cancelled",
}
#: A refused connection has no SQLSTATE, only the server's or libpq's text.
_BY_TEXT: Final = (
    (r'database ".*" does not exist', _BY_CLASS["3D"]),
    (r'role ".*" does not exist', "create the role, or correct the user in consumer.store"),
    (r"password|authentication failed", _BY_CLASS["28"]),
    (r"pg_hba\.conf", "let this user and host in, in the server's pg_hba.conf"),
    (r"too many|remaining connection slots", "raise the server's max_connections"),
    (r"starting up|shutting down|recovery", "it is starting or stopping"),
    (r"translate host name|resolve host|name resolution", "correct the host in consumer.store"),
    (r"SSL|certificate", "check sslmode and sslrootcert in consumer.store"),
)
_ELSE: Final = "is it running, and reachable from here?"


def explain(error: psycopg.Error, secrets: tuple[str, ...]) -> str:
    """What was said, on one line, and what to look at; `secrets` are blotted out."""
    said = error.diag.message_primary or " ".join(str(error).split()) or type(error).__name__
    for secret in secrets:
        said = said.replace(secret, _MASK)
    state = error.sqlstate or ""
    advice = _BY_CLASS.get(state[:2])
    if advice is None:
        found = (advice for pattern, advice in _BY_TEXT if re.search(pattern, said))
        advice = next(found, _ELSE)
    return f"{said[:_LONGEST]}; events wait in Kafka and are tried again: {advice}"


def check_parts(parts: dict[str, str]) -> None:
    """ConfigurationError where a password's `@`, `/` or `?` has cut the URL in the wrong place.

    libpq would then take a piece of it for the host, and name that in its errors.
    """
    port = parts.get("port", "")
    if not re.fullmatch(r"[0-9,]*", port) or any(
        "@" in parts.get(name, "") for name in ("host", "dbname")
    ):
        raise ConfigurationError(
            "consumer.store: the PostgreSQL URL cannot be read; special characters of the "
            "password must be written as %XX, or better: leave it out and set "
            "consumer.store_password"
        )
