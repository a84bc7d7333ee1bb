"""What has a secret or a store behind it: each asked once, and none of it shown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from credentials.resolver import Resolver
from hookline.commands.secrets import findings as secret_findings
from hookline.doctor.findings import Finding, broken, ok, warning
from hookline.processes.monitor_stores import open_questions
from hookline.processes.stores import open_operations
from hookline.settings.loading import Settings
from schemas.connection import ConnectionState
from schemas.errors import ConfigurationError, SecretError, StoreError

_SQLITE = "sqlite:///"


def secrets(settings: Settings, resolver: Resolver) -> Iterator[Finding]:
    """Every secret that the settings name."""
    good = 0
    for found in secret_findings(settings, resolver.resolve, time.time()):
        if not found.good:
            yield broken("secrets", f"{found.place}: {found.mend}", _mend_of(found.place))
        elif found.mend:
            yield warning("secrets", f"{found.place}: {found.mend}")
        else:
            good += 1
    if good:
        yield ok("secrets", f"{good} secret{'s' if good != 1 else ''} can be had")
    active = [c for c in settings.connections if c.state is ConnectionState.ACTIVE]
    if not active:
        yield warning(
            "connections",
            "the settings list no active connection",
            "hookline connections list shows those of the topic; `connections:` adds some",
        )


def _mend_of(place: str) -> str:
    name = place.removeprefix("connection ")
    return f"hookline secrets check {name}" if name != place else "hookline secrets check"


def store(settings: Settings, resolver: Resolver) -> Iterator[Finding]:
    """The consumer's store: there, reachable, and of this build's version."""
    consumer = settings.consumer
    shown = consumer.store
    if shown.startswith(_SQLITE):
        path = Path(shown.removeprefix(_SQLITE))
        if not path.exists():
            yield warning(
                "store",
                f"{path.absolute()} is not there yet",
                "the first start of `hookline consumer` makes it; its path is relative to the "
                "folder that the consumer runs in",
            )
            return
    began_s = time.monotonic()
    try:
        opened = open_operations(consumer, resolver)
    except SecretError as error:
        yield broken("store", f"{shown}: {error}", "hookline secrets check")
        return
    except (StoreError, ConfigurationError) as error:
        yield broken("store", f"{shown}: {error}", "consumer.store (docs/stores.md)")
        return
    try:
        keys = opened.parked_keys("", None, 1)
    except StoreError as error:
        yield broken("store", f"{shown}: {error}", "consumer.store (docs/stores.md)")
        return
    finally:
        opened.close()
    took_ms = (time.monotonic() - began_s) * 1000
    yield ok("store", f"{shown} is of this version and answered in {took_ms:.0f} ms")
    if keys:
        yield warning("store", "keys are parked", "hookline parked list")


def monitor_store(settings: Settings, resolver: Resolver) -> Iterator[Finding]:
    """The monitor's store, where there is one: the console, alerts and `hookline trace` ask it."""
    shown = settings.monitor.store
    if shown.startswith(_SQLITE) and not Path(shown.removeprefix(_SQLITE)).exists():
        yield ok("store", f"no monitor has run here: {shown} is not there")
        return
    try:
        opened = open_questions(settings.monitor, resolver)
    except SecretError as error:
        yield broken("store", f"{shown}: {error}", "hookline secrets check")
        return
    except (StoreError, ConfigurationError) as error:
        yield broken("store", f"{shown}: {error}", "monitor.store (docs/monitor.md)")
        return
    try:
        known = opened.known(settings.environment)
    except StoreError as error:
        yield broken("store", f"{shown}: {error}", "monitor.store (docs/monitor.md)")
        return
    finally:
        opened.close()
    count = len(known.connections)
    plural = "s" if count != 1 else ""
    yield ok("store", f"{shown} answers and knows {count} connection{plural}")
