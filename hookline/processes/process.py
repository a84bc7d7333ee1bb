"""What every Hookline process sets up first: logs, telemetry, secrets."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from credentials.resolver import Resolver
from hookline.settings.credentials import CredentialSettings
from hookline.settings.loading import Settings
from hookline.telemetry.log_export import LogExport
from hookline.telemetry.logs import configure_logs
from hookline.telemetry.providers import Telemetry, configure_telemetry
from hookline.telemetry.redaction import Redactor


class Process(msgspec.Struct, frozen=True):
    """The parts that a process hands to its rooms."""

    telemetry: Telemetry
    resolver: Resolver
    #: What the resolver gave is kept out of every text that goes through it.
    redactor: Redactor


def resolver_for(
    environ: Mapping[str, str], redactor: Redactor, credentials: CredentialSettings
) -> Resolver:
    """Resolves references of every scheme set up; what it gives is kept out of the logs."""
    return credentials.resolver(environ, redactor.register)


def set_up(
    name: str,
    settings: Settings,
    environ: Mapping[str, str],
    always: Mapping[str, Any] | None = None,
) -> Process:
    """Configure logging and telemetry of this process, once; `always` is data of all its lines."""
    redactor = Redactor()
    telemetry = settings.telemetry
    configure_logs(telemetry.log_level, telemetry.log_format, sys.stdout, redactor, always)
    installed = configure_telemetry(
        name,
        telemetry.sample_ratio,
        environ,
        redactor,
        environment=settings.environment,
    ).install()
    if installed.logger_provider is not None:
        export = LogExport(installed.logger_provider, redactor, installed.sampling_bound, always)
        logging.getLogger().addHandler(export)
    return Process(installed, resolver_for(environ, redactor, settings.credentials), redactor)


def tune() -> None:
    """Settings of the interpreter for a process that handles events; call it once all is wired.

    Measured on the consumer: the collector cost 10 of 54 µs an event, as it looked at everything
    again and again for cycles that do not come about; and threads that take turns every 5 ms cost
    as much again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    sys.setswitchinterval(0.01)
