"""`hookline probe`: signed synthetic webhooks from outside, and what a sender sees of them."""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import click

from credentials.resolver import Resolver
from hookline.commands.config import config_option
from hookline.commands.send import choose, own_url, signing_secret
from hookline.probe.effects import Effects, LogEffects, StoreEffects
from hookline.probe.making import probe
from hookline.probe.prober import Probed, ProbeMetrics, Prober, steps_ms
from hookline.probe.round_trip import post
from hookline.processes.health_server import HealthServer
from hookline.processes.process import resolver_for, set_up
from hookline.settings.loading import Settings, load
from hookline.telemetry.redaction import Redactor
from producer.providers.provider import Outgoing
from producer.providers.registry import PROVIDERS, build

log = logging.getLogger("hookline.probe")


@click.command("probe")
@config_option
@click.option("--connection", help="Which connection; probe.connection, or the only one.")
@click.option("--url", help="The gateway as the world reaches it; probe.url.")
@click.option("--once", is_flag=True, help="One probe, for people and scripts.")
@click.option("--every", "every_s", type=click.FloatRange(1), help="Seconds; probe.every_s.")
@click.option(
    "--effect",
    type=click.Choice(("log", "store", "none")),
    help="Where its effect is looked for; probe.effect.",
)
@click.option("--json", "as_json", is_flag=True, help="With --once: one JSON object.")
def command(
    config: Path | None,
    connection: str | None,
    url: str | None,
    once: bool,
    every_s: float | None,
    effect: str | None,
    as_json: bool,
) -> None:
    """Send webhooks of type hookline.probe, signed with the connection's secret, on a schedule.

    No handler gets one unless it names that type, so they have no effect but the note that they
    are done. --once: exit code 0 if the answer and the effect are well, 1 if not. Otherwise it
    goes on until a signal ends it, with /metrics at probe.listen.
    """
    settings = load(config, os.environ)
    chosen = settings.probe.model_dump()
    given = {"connection": connection, "url": url, "every_s": every_s, "effect": effect}
    chosen |= {name: value for name, value in given.items() if value is not None}
    settings = settings.model_copy(update={"probe": type(settings.probe).model_validate(chosen)})
    if once:
        resolver = resolver_for(os.environ, Redactor(), settings.credentials)
        prober, effects = _prober(settings, resolver)
        try:
            probed = prober.once()
        finally:
            if effects is not None:
                effects.close()
        click.echo(json.dumps(as_dict(probed)) if as_json else "\n".join(told(probed)))
        sys.exit(0 if probed.good else 1)
    sys.exit(_run(settings))


def _run(settings: Settings) -> int:
    process = set_up("hookline-probe", settings, os.environ)
    prober, effects = _prober(settings, process.resolver)
    connection = _connection(settings)
    counted = ProbeMetrics(connection, time.time)
    stop = threading.Event()
    last: list[Probed] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    host, _, port = settings.probe.listen.rpartition(":")

    def ready() -> tuple[bool, str]:
        if not last:
            return False, "no probe has come back yet"
        return last[0].good, "" if last[0].good else f"the last probe: {last[0].outcome.value}"

    with HealthServer(
        host,
        int(port),
        live=lambda: (True, ""),
        ready=ready,
        metrics=process.telemetry.metrics_text,
        setting="probe.listen",
    ):
        log.info(
            "probe started",
            extra={"data": {"connection": connection, "every_s": settings.probe.every_s}},
        )
        due_s = time.monotonic()
        while not stop.wait(max(0.0, due_s - time.monotonic())):
            probed = prober.once()
            last[:] = [probed]
            counted.probed(probed)
            _say(probed)
            # Not one after the other without a pause when each takes longer than that.
            due_s = max(due_s + settings.probe.every_s, time.monotonic() + 0.5)
        process.telemetry.shutdown(5.0)
    if effects is not None:
        effects.close()
    log.info("probe stopped")
    return 0


def _connection(settings: Settings) -> str:
    return choose(settings, settings.probe.connection).id


def _prober(settings: Settings, resolver: Resolver) -> tuple[Prober, Effects | None]:
    item = choose(settings, settings.probe.connection)
    provider = build(item.provider, item.options)
    options = PROVIDERS[item.provider].Options.model_validate(item.options)
    numbers = count(secrets.randbelow(2**32))
    url = f"{settings.probe.url or own_url(settings)}/webhooks/{item.id}"
    timeout_s = settings.probe.answer_within_ms / 1000

    def make() -> Outgoing:
        # Asked for each time: a secret that is rotated meanwhile is the one that counts.
        key = provider.load_key(resolver.resolve(signing_secret(item, provider).ref).reveal())
        return probe(
            item.id,
            provider,
            options,
            key,
            event_id=f"probe_{secrets.token_hex(12)}",
            number=next(numbers),
            now_s=time.time(),
        )

    make()
    effects = _effects(settings, resolver)
    return Prober(
        item.id,
        make,
        lambda sent: post(url, sent, timeout_s),
        effects,
        effect_within_s=settings.probe.effect_within_ms / 1000,
        monotonic_s=time.monotonic,
    ), effects


def _effects(settings: Settings, resolver: Resolver) -> Effects | None:
    group = settings.consumer.group
    if settings.probe.effect == "log":
        return LogEffects(
            settings.kafka.bootstrap_servers,
            settings.topics.executions,
            group,
            settings.kafka.resolved_properties(resolver),
        )
    if settings.probe.effect == "store":
        from hookline.processes.monitor_stores import open_questions

        return StoreEffects(open_questions(settings.monitor, resolver), settings.environment, group)
    return None


def _say(probed: Probed) -> None:
    data = as_dict(probed)
    say: Callable[..., None] = log.info if probed.good else log.warning
    say(
        f"probe: {probed.outcome.value}",
        extra={"request_id": data.pop("request_id"), "data": data},
    )


def as_dict(probed: Probed) -> dict[str, Any]:
    """One probe for machines; times in ms."""
    trip, execution = probed.round_trip, probed.execution
    return {
        "connection": probed.connection,
        "outcome": probed.outcome.value,
        "status": trip.status,
        "error": trip.error,
        "problem": probed.problem,
        "request_id": trip.request_id,
        "round_trip_ms": round(trip.total_ms, 3),
        "steps_ms": {name: round(ms, 3) for name, ms in steps_ms(trip).items()},
        "server_ms": dict(trip.server_ms),
        "effect": None
        if execution is None
        else {
            "outcome": execution.outcome,
            "group": execution.group,
            "after_ms": round(probed.effect_ms, 3),
            "end_to_end_ms": round(execution.end_to_end_ns / 1e6, 3),
            "partition": execution.partition,
            "offset": execution.offset,
        },
    }


def told(probed: Probed) -> list[str]:
    """One probe for people."""
    trip, execution = probed.round_trip, probed.execution
    if not trip.status:
        return [
            f"{probed.connection}: no answer after {trip.total_ms:.0f} ms ({trip.error}): is the "
            "gateway reachable from here, and is probe.url right?"
        ]
    steps = "  ".join(f"{name} {ms:.1f}" for name, ms in steps_ms(trip).items())
    own = ", ".join(f"{name} {ms:.1f}" for name, ms in trip.server_ms.items() if name != "total")
    lines = [
        f"{probed.connection}: {trip.status} in {trip.total_ms:.1f} ms  {trip.request_id}",
        f"  ms: {steps}" + (f"  (of it {own})" if own else ""),
    ]
    if probed.outcome.value == "refused":
        lines.append(f"  refused: hookline trace {trip.request_id}")
    elif probed.problem:
        lines.append(f"  its effect cannot be seen: {probed.problem}")
    elif execution is not None:
        lines.append(
            f"  effect: {execution.outcome} in group {execution.group}, "
            f"{execution.end_to_end_ns / 1e6:.1f} ms from the gateway to its commit, seen after "
            f"{probed.effect_ms:.1f} ms"
        )
        if not probed.good:
            lines.append(f"  hookline trace {trip.request_id}")
    elif probed.outcome.value == "no_effect":
        lines.append(
            f"  no effect in time: is a consumer running, and is telemetry.executions on? "
            f"hookline trace {trip.request_id}"
        )
    return lines
