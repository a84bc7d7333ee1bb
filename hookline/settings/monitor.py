"""The monitor as settings: `monitor`."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from consumer.monitor.contract import Retention
from credentials.reference import parse_reference
from hookline.settings.addresses import secret_in_query
from hookline.settings.alerting import AlertSettings, ScrapeSettings
from schemas.errors import SecretError

_DAY_S = 86_400


class MonitorSettings(BaseModel):
    """What is kept of the execution log, and where; see docs/monitor.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    store: str = Field(
        "sqlite:///state/monitor.db",
        pattern=r"^(sqlite|postgres|postgresql)://.+",
        description="sqlite:///path for one monitor, or postgresql://user@host/database for "
        "several, of which one at a time tells alerts.",
    )
    store_password: str | None = Field(None, description="Of the store's server, as a reference.")
    group: str = Field(
        "hookline-monitor",
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="Its own consumer group, on topics.executions.",
    )
    listen: Annotated[str, StringConstraints(pattern=r"^\S*:\d{1,5}$")] = Field(
        "127.0.0.1:8083", description="host:port of health and metrics."
    )
    groups: list[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,249}$")]] = Field(
        [],
        max_length=100,
        description="Consumer groups whose lag is sampled; if none is named, consumer.group.",
    )
    retention_days: int = Field(7, ge=1, le=365, description="Of single requests and events.")
    max_rows: int = Field(
        5_000_000,
        ge=1_000,
        le=1_000_000_000,
        description="Single requests, and as many events; the oldest go first.",
    )
    retention_sums_days: int = Field(
        38,
        ge=8,
        le=3_650,
        description="Of sums per hour. Those per ten minutes are kept for 15 days and those per "
        "minute for 8, at most as long as this.",
    )

    scrape: list[ScrapeSettings] = Field([], max_length=100)
    alerts: AlertSettings = AlertSettings()

    def retention(self) -> Retention:
        """As the store takes it."""
        hours_s = self.retention_sums_days * _DAY_S
        known = Retention()
        return Retention(
            rows_s=self.retention_days * _DAY_S,
            max_rows=self.max_rows,
            minutes_s=min(known.minutes_s, hours_s),
            tens_s=min(known.tens_s, hours_s),
            hours_s=hours_s,
            sixths_s=hours_s,
        )

    @field_validator("store")
    @classmethod
    def _holds_no_password(cls, store: str) -> str:
        try:
            parts = urlsplit(store)
            secret = parts.password is not None or secret_in_query(parts.query, False)
        except ValueError:
            raise ValueError(
                "this is no store's URL; write one such as postgresql://user@host:5432/database"
            ) from None
        if secret:
            raise ValueError(
                "a password may not be in the URL: write it as monitor.store_password with a "
                "reference, such as env:MONITOR_PASSWORD"
            )
        return store

    @field_validator("store_password")
    @classmethod
    def _is_reference(cls, ref: str | None) -> str | None:
        if ref is not None:
            try:
                parse_reference(ref)
            except SecretError as error:
                raise ValueError(str(error)) from None
        return ref
