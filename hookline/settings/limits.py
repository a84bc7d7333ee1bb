"""What one connection may use of a gateway, as settings: `gateway.limits`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from producer.gateway.limits import ConnectionLimits, Limits


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
        10_000,
        ge=1,
        le=1_000_000,
        description="Not safe yet; with so many, 429. Half of publish.max_in_flight_events, so "
        "that others have room. null: no limit.",
    )
    max_in_flight_bytes: int | None = Field(
        33_554_432,
        ge=1,
        description="Of these events together; with so many, 429. Half of "
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

    def limits(self) -> ConnectionLimits | None:
        """As the gateway takes them; None if nothing is limited."""
        common = self._merged(OverrideSettings())
        overrides = {name: self._merged(one) for name, one in self.overrides.items()}
        if not common and not any(overrides.values()):
            return None
        return ConnectionLimits(common, overrides)

    def _merged(self, override: OverrideSettings) -> Limits:
        values = {name: getattr(self, name) for name in Limits.__struct_fields__}
        given = override.model_fields_set
        if "rate_per_s" in given and "burst" not in given:
            values["burst"] = None  # What was meant for another rate.
        return Limits(**(values | {name: getattr(override, name) for name in given}))
