"""The connect flow, as settings: where it is reached, where its secrets go, whom it may ask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from credentials.reference import parse_reference
from credentials.writing import check_prefix
from hookline.settings.secret_writing import EXAMPLES, WritableBackend
from producer.connect.oauth import OAuthApp
from producer.outgoing.policy import OutgoingPolicy
from schemas.errors import ConfigurationError, SecretError

_URL: Final = r"^(https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._/-]*[A-Za-z0-9._-])?)?$"
_ORIGIN: Final = r"^https?://[A-Za-z0-9.:\[\]-]+$"


def _check_reference(ref: str) -> str:
    try:
        parse_reference(ref)
    except SecretError as error:
        raise ValueError(str(error)) from None
    return ref


Ref = Annotated[str, AfterValidator(_check_reference)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ConnectSecretSettings(_Model):
    """Where the secrets of connections are written that customers make; docs/secrets.md."""

    backend: WritableBackend = Field(description="One that is set up under `credentials`.")
    prefix: str = Field(
        "",
        max_length=200,
        description="What Hookline's names start with: mount/path (vault), a path (aws-sm, "
        "sealed), vault/start (azure-kv). Not needed for sealed.",
    )

    @model_validator(mode="after")
    def _has_a_prefix(self) -> ConnectSecretSettings:
        if not self.prefix:
            if self.backend != "sealed":
                raise ValueError(
                    "write prefix: what is below it is Hookline's own, such as "
                    f"{EXAMPLES[self.backend]}"
                )
            return self
        try:
            check_prefix(self.prefix, EXAMPLES[self.backend] or "hookline/connect")
        except SecretError as error:
            raise ValueError(f"prefix: {error}") from None
        return self


class OAuthAppSettings(_Model):
    """Our client at a system that asks its customers for consent."""

    client_id: str = Field(min_length=1, max_length=300, description="No secret.")
    client_secret: Ref = Field("", description="As a reference.", validate_default=False)
    app_secret: Ref = Field(
        "",
        description="What the system signs webhooks with where that is the app's own, such as "
        "Shopify's; as a reference.",
        validate_default=False,
    )

    def app(self) -> OAuthApp:
        """As the flow takes it."""
        return OAuthApp(
            client_id=self.client_id,
            client_secret=self.client_secret,
            app_secret=self.app_secret,
        )


class OutgoingSettings(_Model):
    """What requests to customers' systems may reach, and how long they may take."""

    allow_networks: list[str] = Field(
        [], max_length=50, description="Private networks that may be asked, such as 10.20.0.0/16."
    )
    allow_hosts: list[Annotated[str, StringConstraints(pattern=r"^(\*\.)?[A-Za-z0-9.-]+$")]] = (
        Field([], max_length=200, description="Names that may lead to private addresses.")
    )
    allow_http: bool = Field(False, description="Also unencrypted: for a laboratory only.")
    timeout_ms: int = Field(15_000, ge=500, le=60_000, description="Of one request as a whole.")
    max_answer_bytes: int = Field(1_048_576, ge=10_000, le=33_554_432)
    ca_file: str | None = Field(
        None, min_length=1, description="Authorities (PEM) trusted besides the public ones."
    )

    @field_validator("allow_networks")
    @classmethod
    def _are_networks(cls, found: list[str]) -> list[str]:
        try:
            OutgoingPolicy(allow_networks=tuple(found)).networks()
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        return found

    def policy(self) -> OutgoingPolicy:
        """As the client takes it."""
        return OutgoingPolicy(
            allow_networks=tuple(self.allow_networks),
            allow_hosts=tuple(self.allow_hosts),
            https_only=not self.allow_http,
            timeout_s=self.timeout_ms / 1000,
            max_answer_bytes=self.max_answer_bytes,
            ca_file=self.ca_file,
        )


class ConnectSettings(_Model):
    """The guided flow with which customers connect their systems; docs/connect.md."""

    gateway_url: str = Field(
        "",
        pattern=_URL,
        description="Where systems reach the gateway, such as https://hooks.example.com; without "
        "it nothing can be connected.",
    )
    gateway_check_url: str = Field(
        "",
        pattern=_URL,
        description="Where the console itself reaches the gateway, if that is another address.",
    )
    public_url: str = Field(
        "",
        pattern=_URL,
        description="Where customers' browsers reach the console; console.public_url if not given. "
        "OAuth comes back to {public_url}/connect/callback.",
    )
    allowed_origins: list[Annotated[str, StringConstraints(pattern=_ORIGIN)]] = Field(
        [], max_length=100, description="Of pages that may embed the component."
    )
    session_minutes: int = Field(30, ge=5, le=240, description="How long a session lasts.")
    gateway_wait_ms: int = Field(
        15_000, ge=1_000, le=60_000, description="For the gateway to know a new connection."
    )
    catalogue: str | None = Field(
        None, min_length=1, description="A folder of entries of your own, beside ours."
    )
    secrets: ConnectSecretSettings | None = None
    outgoing: OutgoingSettings = OutgoingSettings()
    oauth: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")], OAuthAppSettings
    ] = Field({}, max_length=200, description="By the system's id in the catalogue.")

    @property
    def folder(self) -> Path | None:
        """Of entries of one's own."""
        return Path(self.catalogue) if self.catalogue is not None else None

    def missing(self) -> str:
        """What must be set before anything can be connected; empty if all is."""
        if not self.gateway_url:
            return "write connect.gateway_url: where systems reach the gateway"
        if self.secrets is None:
            return "write connect.secrets.backend: where customers' credentials are kept"
        return ""
