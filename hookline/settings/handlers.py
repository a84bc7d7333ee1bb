"""The handlers that need no code, as settings: `consumer.forward` and `consumer.upsert`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from consumer.handlers.circuit import CircuitPolicy
from consumer.handlers.forward import ForwardLimits, forward
from consumer.handlers.registration import Handlers
from consumer.handlers.upsert import Paramstyle, parse_source, upsert
from credentials.reference import parse_reference
from credentials.resolver import Resolver
from hookline.settings.addresses import check_target, is_reference, resolved
from schemas.errors import ConfigurationError, SecretError

_TYPE: Final = re.compile(r"[A-Za-z0-9_:-]+(?:\.[A-Za-z0-9_:-]+)*")
_PATTERN: Final = re.compile(r"(?:\*|[A-Za-z0-9_:-]+)(?:\.(?:\*|[A-Za-z0-9_:-]+))*")
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]{0,62}"
_TABLE: Final = re.compile(rf"(?:{_NAME}\.)?{_NAME}")

_PARAMSTYLES: Final[dict[str, Paramstyle]] = {
    "sqlite": "qmark",
    "postgresql": "format",
    "postgres": "format",
}


def _check_patterns(written: str | list[str]) -> str | list[str]:
    for pattern in _several(written):
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(
                f"{pattern!r} is no event type: write dotted segments where a whole segment may be "
                "*, such as github.issues.*"
            )
    return written


def _check_types(written: str | list[str]) -> str | list[str]:
    for name in _several(written):
        if not _TYPE.fullmatch(name):
            # A pattern might be less specific than `events` and so never be chosen.
            raise ValueError(f"{name!r}: write whole event types here, without *")
    return written


def _check_table(table: str) -> str:
    if not _TABLE.fullmatch(table):
        raise ValueError("write name or schema.name, of letters, digits and underscores")
    return table


def _check_columns(sources: dict[str, str]) -> dict[str, str]:
    for name, text in sources.items():
        if not re.fullmatch(_NAME, name):
            raise ValueError(f"{name!r} is no column's name: letters, digits and underscores")
        try:
            parse_source(text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return sources


Patterns = Annotated[str | list[str], AfterValidator(_check_patterns)]
EventTypes = Annotated[str | list[str], AfterValidator(_check_types)]
Table = Annotated[str, AfterValidator(_check_table)]
Columns = Annotated[dict[str, str], AfterValidator(_check_columns)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class CircuitSettings(_Model):
    """When a target that keeps failing is left alone, and for how long."""

    consecutive_failures: int = Field(5, ge=1, le=10_000, description="One after the other.")
    failure_rate: float = Field(0.5, gt=0, le=1, description="Share of the last `window` calls.")
    window: int = Field(50, ge=1, le=10_000)
    rest_ms: int = Field(5_000, ge=10, le=3_600_000, description="Doubled by each probe in vain.")
    max_rest_ms: int = Field(60_000, ge=10, le=3_600_000)

    @model_validator(mode="after")
    def _rest_grows(self) -> CircuitSettings:
        if self.rest_ms > self.max_rest_ms:
            raise ValueError("rest_ms is longer than max_rest_ms")
        return self

    def to_policy(self) -> CircuitPolicy:
        """As the circuit knows it."""
        return CircuitPolicy(
            consecutive_failures=self.consecutive_failures,
            failure_rate=self.failure_rate,
            window=self.window,
            rest_s=self.rest_ms / 1000,
            max_rest_s=self.max_rest_ms / 1000,
        )


class ForwardSettings(_Model):
    """One target that events are posted to."""

    events: Patterns = Field(description="Event types, such as github.issues.*.")
    url: str = Field(
        max_length=2048,
        description="https://host/path; as a reference if it holds a secret, such as env:NAME.",
    )
    secrets: list[str] = Field(
        [],
        max_length=8,
        description="References of whsec_ secrets; each signs, so rotation is both for a while.",
    )
    bearer: str | None = Field(None, description="Reference of a token for Authorization: Bearer.")
    stale: Literal["apply", "skip"] = Field("apply", description="What to do with an older event.")
    timeout_ms: int = Field(10_000, ge=10, le=300_000, description="For a whole answer.")
    connect_timeout_ms: int = Field(2_000, ge=10, le=60_000)
    max_connections: int = Field(64, ge=1, le=10_000)
    max_retry_after_ms: int = Field(3_600_000, ge=0, le=86_400_000)
    proxy: str | None = Field(
        None,
        description="http://host:port, or a reference to it; none is taken from elsewhere.",
    )
    circuit: CircuitSettings = CircuitSettings()

    @field_validator("url", "proxy")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        return None if url is None else check_target(url)

    @field_validator("secrets")
    @classmethod
    def _are_references(cls, refs: list[str]) -> list[str]:
        return [_check_reference(ref) for ref in refs]

    @field_validator("bearer")
    @classmethod
    def _is_reference(cls, ref: str | None) -> str | None:
        return None if ref is None else _check_reference(ref)


class UpsertSettings(_Model):
    """One table that is kept at the newest state of something."""

    events: Patterns = Field(description="Event types, such as github.issues.*.")
    table: Table = Field(description="name or schema.name; it must exist.")
    key: Columns = Field(
        min_length=1, max_length=16, description="Column: /json/pointer; its primary key."
    )
    columns: Columns = Field(
        {}, max_length=200, description="Column: /json/pointer, or event:occurred_at and the like."
    )
    delete_on: EventTypes = Field([], description="Whole event types that remove the row.")
    stale: Literal["apply", "skip"] = Field("skip", description="What to do with an older event.")


def references(forward_to: Sequence[ForwardSettings]) -> Iterator[tuple[str, str]]:
    """The secrets that targets name: where each is named, and its reference."""
    for n, target in enumerate(forward_to):
        place = f"consumer.forward[{n}]"
        for name, written in (("url", target.url), ("proxy", target.proxy)):
            if written is not None and is_reference(written):
                yield f"{place}.{name}", written
        for at, ref in enumerate(target.secrets):
            yield f"{place}.secrets[{at}]", ref
        if target.bearer is not None:
            yield f"{place}.bearer", target.bearer


def register(
    handlers: Handlers,
    *,
    forward_to: Sequence[ForwardSettings] = (),
    upsert_into: Sequence[UpsertSettings] = (),
    resolver: Resolver,
    store_url: str,
) -> None:
    """Register what the settings name beside the handlers that are there.

    ConfigurationError or SecretError, which say where, for what cannot be.
    """
    for at, target in enumerate(forward_to):
        try:
            handler = forward(
                resolved(target.url, resolver),
                secrets=[resolver.resolve(ref) for ref in target.secrets],
                bearer=None if target.bearer is None else resolver.resolve(target.bearer),
                limits=ForwardLimits(
                    connect_timeout_s=target.connect_timeout_ms / 1000,
                    timeout_s=target.timeout_ms / 1000,
                    max_connections=target.max_connections,
                    max_retry_after_s=target.max_retry_after_ms / 1000,
                ),
                circuit=target.circuit.to_policy(),
                proxy=None if target.proxy is None else resolved(target.proxy, resolver),
            )
            handlers.on(*_several(target.events), stale=target.stale)(handler)
        except (ConfigurationError, SecretError) as error:
            raise type(error)(f"consumer.forward.{at}: {error}") from None
    for at, mapping in enumerate(upsert_into):
        try:
            rows = upsert(
                mapping.table,
                key=mapping.key,
                columns=mapping.columns,
                paramstyle=paramstyle(store_url),
            )
            handlers.on(*_several(mapping.events), stale=mapping.stale)(rows.write)
            if deletes := _several(mapping.delete_on):
                handlers.on(*deletes, stale=mapping.stale, deletes=mapping.stale != "apply")(
                    rows.delete
                )
        except ConfigurationError as error:
            raise ConfigurationError(
                [f"consumer.upsert.{at}: {problem}" for problem in error.problems]
            ) from None


def paramstyle(store_url: str) -> Paramstyle:
    """How the store's database marks parameters; ConfigurationError for one without tables."""
    scheme = store_url.partition(":")[0]
    try:
        return _PARAMSTYLES[scheme]
    except KeyError:
        raise ConfigurationError(
            f"upsert needs a table in the store, and {scheme} has none: use a sqlite or postgresql "
            "store (consumer.store)"
        ) from None


def _several(one_or_more: Any) -> list[str]:
    return [one_or_more] if isinstance(one_or_more, str) else list(one_or_more)


def _check_reference(ref: str) -> str:
    try:
        parse_reference(ref)
    except SecretError as error:
        raise ValueError(str(error)) from None
    return ref
