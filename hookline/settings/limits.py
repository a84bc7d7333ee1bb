"""What one connection may use of a gateway, as settings: `gateway.limits`."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from producer.gateway.limits import ConnectionLimits, Limits

#: Half of the publisher's defaults.
_EVENTS: Final = 10_000
_BYTES: Final = 33_554_432


class OverrideSettings(BaseModel):
    """Other limits for one connection; what is not given is as for all, null is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    rate_per_s: float | None = Field(
        None,
        ge=0.01,
        le=1_000_000,
        description="Verified requests a second, in the long run; more are answered 429.",
    )
    burst: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="At once after a pause; if not given, as many as in a second.",
    )
    max_in_flight_events: int | None = Field(
        None, ge=1, le=1_000_000, description="Not safe yet; with so many, 429."
    )
    max_in_flight_bytes: int | None = Field(
        None, ge=1, description="Of these events together; with so many, 429."
    )


class LimitSettings(OverrideSettings):
    """What each connection may use of one gateway process; docs/operations.md."""

    max_in_flight_events: int | None = Field(
        _EVENTS,
        ge=1,
        le=1_000_000,
        description="Not safe yet; with so many, 429. If not given, at most half of "
        "publish.max_in_flight_events, so that others have room. null: no limit.",
    )
    max_in_flight_bytes: int | None = Field(
        _BYTES,
        ge=1,
        description="Of these events together; with so many, 429. If not given, at most half of "
        "publish.max_in_flight_bytes. null: no limit.",
    )
    overrides: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")], OverrideSettings
    ] = Field({}, max_length=100_000)

    @model_validator(mode="after")
    def _a_burst_has_a_rate(self) -> LimitSettings:
        if self.burst is not None and self.rate_per_s is None:
            raise ValueError("burst does nothing without rate_per_s: write that, too")
        for name, override in self.overrides.items():
            if override.burst is not None and self._merged(override).rate_per_s is None:
                raise ValueError(
                    f"overrides: burst of {name} does nothing without rate_per_s: write that, too"
                )
        return self

    def limits(
        self, publish_events: int = 2 * _EVENTS, publish_bytes: int = 2 * _BYTES
    ) -> ConnectionLimits | None:
        """As the gateway takes them; None if nothing is limited.

        `publish_…`: the room that all connections share, of which one may have half unless it is
        said otherwise.
        """
        room = {
            "max_in_flight_events": min(_EVENTS, max(1, publish_events // 2)),
            "max_in_flight_bytes": min(_BYTES, publish_bytes // 2),
        }
        ours = {k: v for k, v in room.items() if k not in self.model_fields_set}
        settings = self.model_copy(update=ours)
        common = settings._merged(OverrideSettings())
        overrides = {name: settings._merged(one) for name, one in self.overrides.items()}
        if not common and not any(overrides.values()):
            return None
        return ConnectionLimits(common, overrides)

    def _merged(self, override: OverrideSettings) -> Limits:
        values = {name: getattr(self, name) for name in Limits.__struct_fields__}
        given = override.model_fields_set
        if "rate_per_s" in given and "burst" not in given:
            values["burst"] = None  # What was meant for another rate.
        return Limits(**(values | {name: getattr(override, name) for name in given}))
