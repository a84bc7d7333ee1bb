"""The prober as settings: `probe`."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from hookline.settings.addresses import secret_in_query


class ProbeSettings(BaseModel):
    """Synthetic webhooks from outside; see docs/commands.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    connection: str | None = Field(
        None,
        description="Which of `connections` it sends as; needed if there are several. Best one of "
        "its own.",
    )
    url: str | None = Field(
        None,
        description="The gateway as the world reaches it, such as https://hooks.example.com; if "
        "not given, gateway.listen of this machine.",
    )
    every_s: float = Field(60.0, ge=1, le=86_400, description="From one probe to the next.")
    answer_within_ms: int = Field(10_000, ge=100, le=120_000, description="For an answer.")
    effect: Literal["log", "store", "none"] = Field(
        "log",
        description="Where its effect is looked for: the execution log on Kafka, the monitor's "
        "store, or not at all.",
    )
    effect_within_ms: int = Field(
        30_000, ge=100, le=3_600_000, description="From the answer to its commit in consumer.group."
    )
    listen: Annotated[str, StringConstraints(pattern=r"^\S*:\d{1,5}$")] = Field(
        "127.0.0.1:8085", description="host:port of health and metrics."
    )

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname)
            secret = parts.password is not None or secret_in_query(parts.query, False)
        except ValueError:
            good = secret = False
        if not good:
            raise ValueError("write the gateway's address, such as https://hooks.example.com")
        if secret or parts.query or parts.fragment:
            raise ValueError("write the address alone, without a query or a password")
        return url.rstrip("/")
