"""How Hookline gets at the system of a connection that the connect flow made: a record of its own
on the connections topic, which gateways do not need. It names secrets and never holds one."""

from __future__ import annotations

import msgspec


class ConnectionAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Of one connection: its system in the catalogue, what the customer entered that is no secret,
    and the references of what is one (`credentials`: field, or one of ours → reference).

    `attention` is empty, or why somebody must look at it, such as that consent was withdrawn.
    """

    connection: str
    environment: str
    system: str
    values: dict[str, str] = {}
    credentials: dict[str, str] = {}
    webhook_id: str = ""
    account: str = ""
    label: str = ""
    changed_at_us: int
    changed_by: str = ""
    attention: str = ""
