"""What a rule looks at, in a typed form that both the evaluator and Prometheus understand.

A *vector* gives a value for each group of the rule's `by` labels; a *condition* says for which of
them the rule is met. Every form means exactly what its PromQL means (`promql`), so that the two
back ends agree on the same samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from consumer.monitor.alerts.exposed import hint, is_exposed

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d{1,6})\s*([smhd])")
MAX_DURATION_S: Final = 31 * 86_400
_LABEL: Final = r"^[a-z][a-z0-9_]{0,62}$"

Label = Annotated[str, Field(pattern=_LABEL)]


def _seconds(written: Any) -> Any:
    if not isinstance(written, str):
        raise ValueError("write a duration with its unit, such as 30s, 5m, 6h or 3d")
    match = _DURATION.fullmatch(written)
    if match is None:
        raise ValueError("write a duration such as 30s, 5m, 6h or 3d")
    return int(match[1]) * _UNITS_S[match[2]]


#: Seconds, written with a unit.
Duration = Annotated[int, BeforeValidator(_seconds), Field(ge=0, le=MAX_DURATION_S)]


def _known(metric: Any) -> Any:
    if not isinstance(metric, str) or not is_exposed(metric):
        raise ValueError(f"{metric!r} is no metric of Hookline{hint(str(metric))}")
    return metric


#: A metric as /metrics shows it: with `_total`, or a histogram's `_count`, `_sum`, `_bucket`.
Metric = Annotated[str, BeforeValidator(_known)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Among(_Model):
    """A label is one of these."""

    among: tuple[str, ...] = Field(min_length=1, max_length=64)


class Except(_Model):
    """A label is none of these."""

    neither: tuple[str, ...] = Field(alias="except", min_length=1, max_length=64)


class Begins(_Model):
    """A label begins so."""

    begins: str = Field(min_length=1, max_length=64)


Match = str | Among | Except | Begins


def matches(wanted: Match, value: str) -> bool:
    """Whether a label's value, empty where there is none, is what is wanted."""
    if isinstance(wanted, str):
        return value == wanted
    if isinstance(wanted, Among):
        return value in wanted.among
    if isinstance(wanted, Except):
        return value not in wanted.neither
    return value.startswith(wanted.begins)


class _Selecting(_Model):
    where: dict[Label, Match] = Field({}, max_length=8)


class Increase(_Selecting):
    """By how much counters grew within `over`, restarts reckoned with; summed."""

    increase: Metric
    over: Duration
    #: The same, so long ago.
    before: Duration = 0


class Gauge(_Selecting):
    """A gauge as it is now; with `over`, its highest (or lowest) within that time."""

    gauge: Metric
    take: Literal["max", "min", "sum"] = "max"
    over: Duration = 0


class Quantile(_Selecting):
    """A quantile of a histogram's readings within `over`, between its bounds by proportion."""

    quantile: Annotated[float, Field(gt=0, lt=1)]
    of: Metric
    over: Duration
    before: Duration = 0


class Age(_Selecting):
    """Seconds since the latest of timestamps, those seen within `over` included."""

    age: Metric
    over: Duration = 0


class Left(_Selecting):
    """Seconds until the first of timestamps."""

    left: Metric


class Ratio(_Model):
    """A part of a whole, or (`missing: true`) what is missing to the whole."""

    part: Vector
    whole: Vector
    missing: bool = False


_FORMS: Final = ("increase", "gauge", "quantile", "age", "left", "part")


def _form(written: Any) -> str | None:
    if isinstance(written, BaseModel):
        names: Any = type(written).model_fields
    else:
        names = written if isinstance(written, dict) else ()
    return next((form for form in _FORMS if form in names), None)


Vector = Annotated[
    Annotated[Increase, Tag("increase")]
    | Annotated[Gauge, Tag("gauge")]
    | Annotated[Quantile, Tag("quantile")]
    | Annotated[Age, Tag("age")]
    | Annotated[Left, Tag("left")]
    | Annotated[Ratio, Tag("part")],
    Discriminator(
        _form,
        custom_error_type="no_form",
        custom_error_message="write one of increase, gauge, quantile, age, left, or part and whole",
    ),
]


class Times(_Model):
    """So many times what another vector gives."""

    times: Annotated[float, Field(gt=0, le=1000)]
    of: Vector


class Comparison(_Model):
    """Met by the groups whose value is above or below a bound."""

    value: Vector
    above: float | Times | None = None
    below: float | Times | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Comparison:
        if (self.above is None) == (self.below is None):
            raise ValueError("write one of above and below")
        return self

    @property
    def bound(self) -> float | Times:
        """What the value is compared with."""
        bound = self.above if self.above is not None else self.below
        assert bound is not None
        return bound


class All(_Model):
    """Met by the groups that meet each; the first one's value is the alert's."""

    all: tuple[Condition, ...] = Field(min_length=2, max_length=8)


class Any_(_Model):
    """Met by the groups that meet one of these; the value is that of the first that is met."""

    any: tuple[Condition, ...] = Field(min_length=2, max_length=8)


def _kind(written: Any) -> str | None:
    if isinstance(written, BaseModel):
        names: Any = type(written).model_fields
    else:
        names = written if isinstance(written, dict) else ()
    return next((kind for kind in ("value", "all", "any") if kind in names), None)


Condition = Annotated[
    Annotated[Comparison, Tag("value")] | Annotated[All, Tag("all")] | Annotated[Any_, Tag("any")],
    Discriminator(
        _kind,
        custom_error_type="no_condition",
        custom_error_message="write value with above or below, or all, or any",
    ),
]

for _model in (Ratio, Times, Comparison, All, Any_):
    _model.model_rebuild()

Selection = Increase | Gauge | Quantile | Age | Left


def selections(condition: Condition) -> Iterator[Selection]:
    """Every place where a condition looks at a metric."""
    if isinstance(condition, All):
        for part in condition.all:
            yield from selections(part)
    elif isinstance(condition, Any_):
        for part in condition.any:
            yield from selections(part)
    else:
        yield from _selected(condition.value)
        if isinstance(condition.bound, Times):
            yield from _selected(condition.bound.of)


def _selected(vector: Vector) -> Iterator[Selection]:
    if isinstance(vector, Ratio):
        yield from _selected(vector.part)
        yield from _selected(vector.whole)
    else:
        yield vector


def metric_of(selection: Selection) -> str:
    """The metric's name as samples have it."""
    match selection:
        case Increase():
            return selection.increase
        case Gauge():
            return selection.gauge
        case Quantile():
            return f"{selection.of}_bucket"
        case Age():
            return selection.age
        case Left():
            return selection.left


def looks_back_s(selection: Selection) -> int:
    """How old a sample may be that still counts."""
    over: int = getattr(selection, "over", 0)
    before: int = getattr(selection, "before", 0)
    return over + before
