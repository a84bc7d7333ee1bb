"""`hookline alerts`: what fires, silences, rules for a Prometheus, and a try of the notifiers."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any, Final

import click

from consumer.monitor.alerts.grouping import Notification
from consumer.monitor.alerts.messages import as_json, when
from consumer.monitor.alerts.promql import rule_file
from consumer.monitor.alerts.reference import alerts_page
from consumer.monitor.alerts.rules import load_rules
from consumer.monitor.alerts.silences import MAX_SILENCE_S, Silence, silenced
from consumer.monitor.alerts.states import Alert, State
from hookline.commands.auditing import command_audit, whoami
from hookline.commands.config import config_option
from hookline.commands.letter_filter import ago, lines, printable
from hookline.processes.alerting import open_alert_store
from hookline.processes.process import resolver_for
from hookline.settings.loading import load
from hookline.telemetry.redaction import Redactor
from schemas.errors import ConfigurationError, HandlerError, HooklineError

_LONG: Final = re.compile(r"(\d{1,4})\s*([mhd])")
_UNITS_S: Final = {"m": 60, "h": 3_600, "d": 86_400}
_LABEL: Final = re.compile(r"([a-z_]{1,63})=(.{1,256})")


@click.group("alerts")
def command() -> None:
    """See what fires, silence it; the rules, also for a Prometheus."""


@command.command("list")
@config_option
@click.option("--all", "everything", is_flag=True, help="Also pending ones, and those of a day.")
@click.option("--silences", "only_silences", is_flag=True, help="The silences that count.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def list_(config: Path | None, everything: bool, only_silences: bool, as_json: bool) -> None:
    """List what fires, the gravest first. Exit code 0 also if something does."""
    settings = load(config, os.environ)
    store = open_alert_store(settings, resolver_for(os.environ, Redactor(), settings.credentials))
    now_ms = int(time.time() * 1000)
    try:
        silences = store.silences(now_ms)
        found = store.alerts(now_ms - 86_400_000 if everything else None)
    finally:
        store.close()
    if only_silences:
        _show_silences(silences, as_json)
        return
    alerts = [a for a in found if everything or a.state is State.FIRING]
    quiet = {id(a) for a in alerts if silenced(a, silences, now_ms)}
    if as_json:
        for alert in alerts:
            click.echo(json.dumps(_row(alert, id(alert) in quiet)))
        return
    if not alerts:
        click.echo("nothing fires")
        return
    lines(
        ("state", "severity", "since", "rule", "what"),
        [
            (
                alert.state.value + (" (silenced)" if id(alert) in quiet else ""),
                alert.severity,
                ago(alert.since_ms * 1000),
                alert.rule,
                printable(alert.summary),
            )
            for alert in alerts
        ],
    )


@command.command("silence")
@config_option
@click.argument("labels", nargs=-1)
@click.option("--for", "long", default="1h", show_default=True, help="Such as 30m, 4h, 2d.")
@click.option("--comment", default="", help="Why.")
@click.option("--end", type=click.IntRange(1), help="End the silence of this number now.")
def silence(
    config: Path | None, labels: tuple[str, ...], long: str, comment: str, end: int | None
) -> None:
    """Tell nobody of alerts with all these LABELS for a while; they go on and are shown.

    LABELS are label=value, where a value may end in *: alertname=HooklineLag, severity=warning,
    connection=acme-github.
    """
    until_s = _seconds(long)
    matchers = dict(map(_label, labels))
    if end is None and not matchers:
        raise ConfigurationError(
            "say what to silence: label=value such as alertname=HooklineLag, or --end NUMBER"
        )
    settings = load(config, os.environ)
    store = open_alert_store(settings, resolver_for(os.environ, Redactor(), settings.credentials))
    now_ms = int(time.time() * 1000)
    try:
        audit = command_audit(settings)
        # Urgent: alerts are silenced above all while something is away, such as Kafka.
        if end is not None:
            with audit.change("alert.end_silence", str(end), urgent=True):
                if not store.end_silence(end, now_ms):
                    raise ConfigurationError(
                        f"there is no silence {end} that counts; `hookline alerts list --silences`"
                    )
            click.echo(f"silence {end} has ended")
            return
        wanted = Silence(
            matchers=matchers,
            from_ms=now_ms,
            until_ms=now_ms + 1000 * until_s,
            by=whoami(),
            comment=comment,
        )
        target = ",".join(f"{name}={value}" for name, value in matchers.items())
        until = when(wanted.until_ms)
        with audit.change("alert.silence", target, urgent=True, until=until) as change:
            made = store.silence(wanted)
            change.note(number=made.number)
        covered = [a for a in store.alerts() if made.covers(a, now_ms)]
    finally:
        store.close()
    click.echo(
        f"silence {made.number} until {when(made.until_ms)}; it covers {len(covered)} "
        f"of the alerts that there are now"
    )


@command.command("rules")
@config_option
@click.option("--names", is_flag=True, help="Only the names, with severity and summary.")
@click.option("--packaged", is_flag=True, help="Hookline's own alone; needs no settings.")
@click.option("--runbook-url", help="The page that alerts link to; monitor.alerts.runbook_url.")
def rules(config: Path | None, names: bool, packaged: bool, runbook_url: str | None) -> None:
    """Print the rules as a rule file for a Prometheus, yours included."""
    if packaged:
        found, page = load_rules(), "docs/alerts.md"
    else:
        alerts = load(config, os.environ).monitor.alerts
        found, page = load_rules(alerts.own_rules()), alerts.runbook_url
    if names:
        lines(("severity", "rule", "what"), [(r.severity, r.name, r.summary) for r in found])
        return
    click.echo(rule_file(found, runbook_url or page), nl=False)


@command.command("test")
@config_option
@click.argument("notifiers", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Print what a webhook would get.")
def test(config: Path | None, notifiers: tuple[str, ...], dry_run: bool) -> None:
    """Send a made-up alert by every notifier, or by those named; once, without a retry.

    Exit code 0 if each took it.
    """
    settings = load(config, os.environ)
    message = _made_up(settings.environment)
    if dry_run:
        click.echo(json.dumps(as_json(message), indent=2))
        return
    resolver = resolver_for(os.environ, Redactor(), settings.credentials)
    known = {one.name: one for one in settings.monitor.alerts.notifiers(resolver)}
    if unknown := sorted(set(notifiers) - known.keys()):
        raise ConfigurationError(
            f"there is no notifier {', '.join(unknown)}; there are {', '.join(known) or 'none'}"
        )
    if not known:
        raise ConfigurationError("there is no notifier: write one at monitor.alerts.webhooks, …")
    failed = 0
    for name, notifier in known.items():
        if notifiers and name not in notifiers:
            continue
        try:
            notifier.send(message)
        except HandlerError as error:
            failed += 1
            click.echo(f"✗ {error}")
        else:
            click.echo(f"✓ {name} took it")
    if failed:
        raise HooklineError(f"{failed} of the notifiers did not take it")


@command.command("docs")
def docs() -> None:
    """Print the part of docs/alerts.md that is made of the rules."""
    click.echo(alerts_page(load_rules()), nl=False)


def _made_up(environment: str) -> Notification:
    now_ms = int(time.time() * 1000)
    alert = Alert(
        rule="HooklineTest",
        severity="info",
        labels=(("connection", "a-test"),),
        state=State.FIRING,
        value=1.0,
        since_ms=now_ms,
        fired_ms=now_ms,
        summary="A test of this notifier: nothing is wrong",
        description="Somebody has run `hookline alerts test`.",
    )
    return Notification(
        group=alert.rule,
        environment=environment,
        severity=alert.severity,
        at_ms=now_ms,
        firing=(alert,),
        resolved=(),
    )


def _row(alert: Alert, quiet: bool) -> dict[str, Any]:
    return {
        "rule": alert.rule,
        "severity": alert.severity,
        "state": alert.state.value,
        "silenced": quiet,
        "labels": dict(alert.labels),
        "value": alert.value,
        "since": when(alert.since_ms),
        "fired": when(alert.fired_ms) if alert.fired_ms else None,
        "resolved": when(alert.resolved_ms) if alert.resolved_ms else None,
        "summary": alert.summary,
        "description": alert.description,
        "runbook": alert.runbook,
    }


def _show_silences(silences: list[Silence], as_json: bool) -> None:
    if as_json:
        for one in silences:
            row = {
                "number": one.number,
                "labels": dict(one.matchers),
                "until": when(one.until_ms),
                "by": one.by,
                "comment": one.comment,
            }
            click.echo(json.dumps(row))
        return
    if not silences:
        click.echo("nothing is silenced")
        return
    lines(
        ("number", "until", "by", "labels", "comment"),
        [
            (
                str(one.number),
                when(one.until_ms),
                printable(one.by),
                printable(" ".join(f"{name}={value}" for name, value in one.matchers.items())),
                printable(one.comment),
            )
            for one in silences
        ],
    )


def _seconds(long: str) -> int:
    match = _LONG.fullmatch(long)
    seconds = int(match[1]) * _UNITS_S[match[2]] if match else 0
    if not 0 < seconds <= MAX_SILENCE_S:
        raise ConfigurationError("--for: write how long, such as 30m, 4h or 2d; at most 31d")
    return seconds


def _label(text: str) -> tuple[str, str]:
    match = _LABEL.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{text!r}: write label=value, such as alertname=HooklineLag")
    return match[1], match[2]
