"""Which connections there are, for commands that only look: the topic's, or the file's at need.

The topic has the last word, as in the gateways. What only the file says counts from the next start
of a gateway, and is told apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final, NamedTuple

from confluent_kafka import KafkaException

from credentials.resolver import Resolver
from hookline.processes.gateway_registry import topic_access
from hookline.settings.loading import Settings
from producer.connections.clients import read_to_end
from producer.connections.knocking import nobody_listens
from producer.connections.ledger import Ledger, Standing
from producer.connections.seeding import digest
from schemas.connection import Connection
from schemas.errors import ConfigurationError, SecretError, TopicError

_WAIT_MS: Final = 50
_MAX_NAMES: Final = 20


class Known(NamedTuple):
    """`counting`: what gateways serve or pause; `coming`: what the file has that they have not."""

    counting: tuple[Connection, ...]
    coming: tuple[Connection, ...] = ()
    #: Connection → its secrets that were revoked, which stay among those that it lists.
    revoked: Mapping[str, frozenset[str]] = MappingProxyType({})
    #: Why this is the file's word alone; empty if the topic was asked.
    away: str = ""
    #: Where topic and file differ.
    notes: tuple[str, ...] = ()

    def all(self) -> tuple[Connection, ...]:
        """What counts, and of what is coming that which is new."""
        ids = {connection.id for connection in self.counting}
        return (*self.counting, *(one for one in self.coming if one.id not in ids))

    def named(self, name: str) -> Connection:
        """The connection of this name; ConfigurationError that says which there are."""
        found = {connection.id: connection for connection in self.all()}
        if name not in found:
            near = get_close_matches(name, found, 1, 0.6)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigurationError(
                f"there is no connection {name!r}; {hint}there are {names(list(found))}"
            )
        return found[name]


def names(ids: list[str]) -> str:
    """These, or so many of them as one reads."""
    more = len(ids) - _MAX_NAMES
    return (", ".join(ids[:_MAX_NAMES]) or "none") + (f" and {more} more" if more > 0 else "")


def known_connections(settings: Settings, resolver: Resolver) -> Known:
    """The topic's, and what the file adds; the file's alone, with a word, if Kafka is away."""
    listed = tuple(item.to_connection(settings.environment) for item in settings.connections)
    try:
        ledger = _read(settings, resolver)
    except (TopicError, SecretError, KafkaException) as error:
        why = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        return Known(
            listed,
            away=f"the topic of connections cannot be read ({why}): these are the connections of "
            "the settings file alone; what was applied, rotated or revoked by a command since is "
            "not known here",
        )
    return of_topic(ledger, listed)


def of_topic(ledger: Ledger, listed: tuple[Connection, ...]) -> Known:
    """The same from what was read; pure."""
    counting: list[Connection] = []
    notes: list[str] = []
    for name in sorted(ledger.ids()):
        standing, record = ledger.standing(name), ledger.record(name)
        if standing is Standing.REVOKED:
            continue
        if record is None:
            notes.append(f"the record of {name} cannot be read: {ledger.problem(name)}")
        else:
            counting.append(record.connection)
    coming: list[Connection] = []
    for connection in listed:
        name, record = connection.id, ledger.record(connection.id)
        if ledger.revoked(name) or ledger.standing(name) is Standing.REVOKED:
            notes.append(f"{name} is revoked, though the settings file lists it")
        elif record is None or record.file_digest != digest(connection):
            coming.append(connection)
            notes.append(
                f"{name} is not on the topic yet: the next gateway that starts writes it"
                if record is None
                else f"{name} has changed in the settings file: the next gateway that starts "
                "writes it"
            )
    revoked = {one.id: ledger.revoked_secrets(one.id) for one in (*counting, *coming)}
    return Known(tuple(counting), tuple(coming), revoked, notes=tuple(notes))


def _read(settings: Settings, resolver: Resolver) -> Ledger:
    servers = settings.kafka.bootstrap_servers
    if nobody_listens(servers):
        raise TopicError(f"nobody listens at {servers}")
    access = topic_access(settings, resolver)
    ledger = Ledger(settings.environment)
    consumer = access.reader(_WAIT_MS)
    try:
        read_to_end(access, consumer, ledger)
    finally:
        consumer.close()
    return ledger
