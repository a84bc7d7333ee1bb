"""Alerts as settings: whom the monitor scrapes (`monitor.scrape`), and whom it tells and how."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from consumer.handlers.webhook_signature import MAX_SECRETS
from consumer.monitor.alerts.grouping import Patience
from consumer.monitor.alerts.notifiers import (
    MailNotifier,
    MailServer,
    Notifier,
    SlackNotifier,
    WebhookNotifier,
)
from consumer.monitor.alerts.scraping import ScrapeTarget
from credentials.reference import parse_reference
from credentials.resolver import Resolver
from schemas.errors import SecretError

_NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,62}$"
Name = Annotated[str, StringConstraints(pattern=_NAME)]
HostPort = Annotated[str, StringConstraints(pattern=r"^\S*:\d{1,5}$")]
Address = Annotated[str, StringConstraints(pattern=r"^[^\s@<>,;]+@[^\s@<>,;]+$", max_length=254)]


def _check(ref: str) -> str:
    try:
        parse_reference(ref)
    except SecretError as error:
        raise ValueError(str(error)) from None
    return ref


Reference = Annotated[str, AfterValidator(_check)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ScrapeSettings(_Model):
    """Whose /metrics a monitor reads for its alerts; monitors on one store name the same ones."""

    job: Name = Field(description="Such as hookline-gateway; the label `job` of their samples.")
    targets: list[HostPort] = Field(
        min_length=1, max_length=1_000, description="host:port of each process's /metrics."
    )


class WebhookNotifierSettings(_Model):
    """JSON by POST, signed by Standard Webhooks."""

    name: Name
    url: Reference = Field(description="A reference to the address.")
    secrets: list[Reference] = Field(
        [], max_length=MAX_SECRETS, description="References; each signs. None: not signed."
    )
    timeout_ms: int = Field(10_000, ge=100, le=60_000)


class SlackNotifierSettings(_Model):
    """An incoming webhook of Slack, Mattermost, Rocket.Chat and the like."""

    name: Name
    url: Reference = Field(description="A reference to the address, which is a secret.")
    timeout_ms: int = Field(10_000, ge=100, le=60_000)


class MailNotifierSettings(_Model):
    """E-mail by a server of yours."""

    name: Name
    host: str = Field(min_length=1, max_length=253)
    port: int = Field(587, ge=1, le=65_535)
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="none only towards a server on this machine."
    )
    username: str = ""
    password: Reference | None = Field(None, description="A reference.")
    sender: Address
    to: list[Address] = Field(min_length=1, max_length=50)
    timeout_ms: int = Field(10_000, ge=100, le=60_000)

    @model_validator(mode="after")
    def _tells_no_password_in_the_open(self) -> MailNotifierSettings:
        if self.password is not None and self.security == "none":
            raise ValueError("a password goes only over TLS: write security: starttls or tls")
        if self.password is not None and not self.username:
            raise ValueError("password does nothing without username: write that, too")
        return self


class AlertSettings(_Model):
    """Rules and whom to tell; docs/alerts.md. They run where `monitor.scrape` names processes."""

    rules: str | None = Field(
        None, min_length=1, description="A file of your own rules, beside the packaged ones."
    )
    runbook_url: str = Field(
        "docs/alerts.md", description="The page that alerts link to, where yours are read."
    )
    every_ms: int = Field(
        15_000, ge=200, le=120_000, description="Between two looks; below 150 s for `increase`."
    )
    scrape_timeout_ms: int = Field(5_000, ge=100, le=60_000)
    max_series: int = Field(
        20_000, ge=100, le=1_000_000, description="Kept in memory, about 20 KB each; no more."
    )
    wait_ms: int = Field(
        10_000, ge=0, le=3_600_000, description="For company, before the first message of a rule."
    )
    interval_ms: int = Field(
        300_000, ge=0, le=86_400_000, description="Between two messages of a rule."
    )
    repeat_ms: int = Field(
        14_400_000, ge=1_000, description="A reminder while nothing has changed."
    )
    webhooks: list[WebhookNotifierSettings] = Field([], max_length=20)
    slack: list[SlackNotifierSettings] = Field([], max_length=20)
    mail: list[MailNotifierSettings] = Field([], max_length=20)

    @model_validator(mode="after")
    def _each_has_its_name(self) -> AlertSettings:
        names = [one.name for one in self.webhooks]
        names += [one.name for one in self.slack] + [one.name for one in self.mail]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two notifiers are called {', '.join(twice)}: metrics need to tell")
        return self

    def patience(self) -> Patience:
        """As the grouping takes it."""
        return Patience(
            wait_s=self.wait_ms / 1000,
            interval_s=self.interval_ms / 1000,
            repeat_s=self.repeat_ms / 1000,
        )

    def own_rules(self) -> Path | None:
        """The user's file."""
        return None if self.rules is None else Path(self.rules)

    def notifiers(self, resolver: Resolver) -> list[Notifier]:
        """Each, with its secrets; SecretError if one cannot be had."""
        made: list[Notifier] = [
            WebhookNotifier(
                one.name,
                resolver.resolve(one.url),
                [resolver.resolve(ref) for ref in one.secrets],
                one.timeout_ms / 1000,
            )
            for one in self.webhooks
        ]
        made += [
            SlackNotifier(one.name, resolver.resolve(one.url), one.timeout_ms / 1000)
            for one in self.slack
        ]
        made += [
            MailNotifier(
                one.name,
                MailServer(
                    host=one.host,
                    port=one.port,
                    security=one.security,
                    username=one.username,
                    password=None if one.password is None else resolver.resolve(one.password),
                ),
                one.sender,
                one.to,
                one.timeout_ms / 1000,
            )
            for one in self.mail
        ]
        return made


def targets(scrape: list[ScrapeSettings]) -> list[ScrapeTarget]:
    """What the scraper is to read."""
    return [
        ScrapeTarget(url=f"http://{place}/metrics", job=group.job, instance=place)
        for group in scrape
        for place in group.targets
    ]
