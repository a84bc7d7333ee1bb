"""How much of the execution log is written, as settings: `telemetry.executions`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from schemas.execution_sampling import ExecutionSampling


class ExecutionLogSettings(BaseModel):
    """Which requests and events have their steps on topics.executions; docs/telemetry.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    sample: Literal["all", "some", "off"] = Field(
        "all",
        description="all; some: what failed, was tried again, parked, stale, given up on or slow, "
        "and of the others one in one_in; or off.",
    )
    one_in: int = Field(
        100, ge=2, le=1_000_000, description="With `some`: of so many, one stands for all."
    )
    slow_ms: int = Field(
        1_000,
        ge=1,
        le=86_400_000,
        description="With `some`: an event that took so long from the gateway to its commit is "
        "kept, as is a request that took so long to be answered.",
    )

    @field_validator("sample", mode="before")
    @classmethod
    def _off_is_a_word(cls, sample: Any) -> Any:
        # YAML reads it as false.
        return "off" if sample is False else sample

    def sampling(self) -> ExecutionSampling:
        """As the processes apply it."""
        one_in = {"all": 1, "some": self.one_in, "off": 0}[self.sample]
        return ExecutionSampling(one_in, self.slow_ms * 1000)
