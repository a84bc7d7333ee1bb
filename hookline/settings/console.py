"""The console, as settings: where it listens, how browsers reach it, what it does not show."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from console.redaction import RedactionRules
from hookline.settings.patterns import unsafe


class RedactSettings(BaseModel):
    """What of payloads and headers the console does not show; docs/access.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    defaults: bool = Field(
        True, description="What is called or looks like a secret or a card number is taken out."
    )
    fields: list[Annotated[str, StringConstraints(min_length=1, max_length=100)]] = Field(
        [], max_length=200, description="Names of fields and headers, whatever their punctuation."
    )
    pointers: list[Annotated[str, StringConstraints(pattern=r"^/", max_length=500)]] = Field(
        [], max_length=200, description="JSON pointers; * is any member, as in /items/*/email."
    )
    patterns: list[Annotated[str, StringConstraints(min_length=1, max_length=300)]] = Field(
        [], max_length=50, description="Regular expressions (Python's) for what is in texts."
    )
    show_unparsed: bool = Field(
        False,
        description="Show what is neither JSON nor a form, after the patterns; else it is hidden.",
    )

    @field_validator("patterns")
    @classmethod
    def _can_be_matched_in_time(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            if problem := unsafe(pattern):
                raise ValueError(problem)
        return patterns

    def rules(self) -> RedactionRules:
        """As the console takes them."""
        return RedactionRules(
            fields=tuple(self.fields),
            pointers=tuple(self.pointers),
            patterns=tuple(self.patterns),
            defaults=self.defaults,
            show_unparsed=self.show_unparsed,
        )


class ConsoleSettings(BaseModel):
    """The pages that people look at in a browser."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    listen: Annotated[str, StringConstraints(pattern=r"^\S*:\d{1,5}$")] = Field(
        "127.0.0.1:8084", description="host:port of the console."
    )
    public_url: str = Field(
        "",
        pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+)?$",
        description="Where browsers see it if a proxy stands before it, such as "
        "https://hooks.example.com; then only forms from there may change something.",
    )
    logs_url: str = Field(
        "",
        pattern=r"^(https?://\S*\{request_id\}\S*)?$",
        description="Where people find the log lines of a request: an address with {request_id} "
        "in it.",
    )
    proxies: list[str] = Field(
        [],
        max_length=50,
        description="Networks of the proxies before it, such as 10.0.0.0/8: theirs is the word on "
        "where a request is from (X-Forwarded-For), for throttling and the audit log.",
    )
    redact: RedactSettings = RedactSettings()

    @field_validator("proxies")
    @classmethod
    def _are_networks(cls, proxies: list[str]) -> list[str]:
        for one in proxies:
            try:
                ip_network(one)
            except ValueError as error:
                raise ValueError(f"write a network such as 10.0.0.0/8: {error}") from None
        return proxies


class AuditSettings(BaseModel):
    """The log of who changed what; docs/access.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    required: bool = Field(
        True,
        description="A change is refused while it cannot be written down; a revocation never is.",
    )
