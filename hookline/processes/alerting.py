"""The monitor's alerting, wired from the settings."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from consumer.monitor.alerts.contract import AlertStore
from consumer.monitor.alerts.databases import Database, PostgresDatabase, SqliteDatabase
from consumer.monitor.alerts.delivery import Delivery
from consumer.monitor.alerts.rules import load_rules
from consumer.monitor.alerts.scraping import Scraper
from consumer.monitor.alerts.service import AlertService
from consumer.monitor.alerts.sql_store import SqlAlertStore
from consumer.monitor.contract import MonitorStore
from consumer.monitor.secret_use import COUNTER, SecretUse
from credentials.resolver import Resolver
from hookline.processes.stores import with_password
from hookline.settings.alerting import targets
from hookline.settings.loading import Settings
from schemas.errors import ConfigurationError

_SQLITE: Final = "sqlite:///"
#: What the monitor's own samples are labelled with; `instance` is where it listens.
OWN_JOB: Final = "hookline-monitor"


def open_alert_store(settings: Settings, resolver: Resolver) -> AlertStore:
    """Where alerts and silences are kept: beside the monitor's rows, in `monitor.store`."""
    monitor = settings.monitor
    database: Database
    if monitor.store.startswith(_SQLITE):
        database = SqliteDatabase(Path(monitor.store.removeprefix(_SQLITE)))
    else:
        try:
            database = PostgresDatabase(
                with_password(monitor.store, monitor.store_password, resolver)
            )
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "monitor.store: a PostgreSQL store needs a package that is not installed "
                f"({error.name}): pip install 'hookline[postgres]'"
            ) from None
    return SqlAlertStore(database, settings.environment)


def _name(settings: Settings) -> str:
    """This monitor's among those on its store."""
    monitor = settings.monitor
    # A file admits one monitor: what stands there is its own, whatever its host is called now.
    if monitor.store.startswith(_SQLITE):
        return OWN_JOB
    return f"{socket.gethostname()} {monitor.listen}"


def open_alerts(
    settings: Settings, resolver: Resolver, own_page: Callable[[], bytes], store: MonitorStore
) -> AlertService | None:
    """The alerting of a monitor, to be started; None where `monitor.scrape` names no process.

    `own_page` gives the monitor's own metrics, which it need not ask itself for over HTTP; `store`
    gets what the scrapes tell beside alerts.
    """
    monitor = settings.monitor
    if not monitor.scrape:
        return None
    alerts = monitor.alerts
    # Before the store: a mistake in the rules or a missing secret leaves nothing open.
    rules = load_rules(alerts.own_rules())
    notifiers = alerts.notifiers(resolver)
    return AlertService(
        rules=rules,
        scraper=Scraper(
            targets(monitor.scrape),
            alerts.scrape_timeout_ms / 1000,
            own=(OWN_JOB, monitor.listen, own_page),
        ),
        store=open_alert_store(settings, resolver),
        delivery=Delivery(notifiers),
        environment=settings.environment,
        name=_name(settings),
        patience=alerts.patience(),
        runbook_url=alerts.runbook_url,
        every_s=alerts.every_ms / 1000,
        max_series=alerts.max_series,
        scraped=SecretUse(store.record, settings.environment).look,
        also_s={COUNTER: 0},
    )
