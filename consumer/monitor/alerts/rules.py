"""The rules: a packaged file and the user's own, read and checked as one set.

A rule of the user's with a packaged one's name takes its place; `without: [name]` takes one away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from consumer.monitor.alerts.expressions import (
    All,
    Any_,
    Comparison,
    Condition,
    Duration,
    Label,
    Ratio,
    looks_back_s,
    metric_of,
    selections,
)
from consumer.monitor.alerts.words import Unit, places, said
from schemas.errors import ConfigurationError

MAX_RULES: Final = 500
#: page: somebody is woken; warning: today; info: when somebody looks.
Severity = Literal["page", "warning", "info"]
Name = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]{2,63}$")]
#: Labels that the alert has of itself.
_TAKEN: Final = frozenset({"alertname", "severity"})


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Runbook(_Model):
    """What somebody who is woken needs; docs/alerts.md is made of it."""

    meaning: str
    causes: tuple[str, ...] = Field(min_length=1)
    #: The one number to look at.
    look: str
    #: The command that mends it, or the first step.
    mend: str


class Rule(_Model):
    """One rule."""

    name: Name
    severity: Severity
    summary: str = Field(min_length=1, max_length=200)
    description: str = Field(min_length=1, max_length=1_000)
    #: Each group of these labels is an alert of its own.
    by: tuple[Label, ...] = Field((), max_length=4)
    when: Condition
    #: What `{value}` is.
    unit: Unit = "count"
    for_s: Duration = Field(0, alias="for")
    #: It must have been well for so long.
    keep_firing_for: Duration = 300
    labels: dict[Label, str] = Field({}, max_length=16)
    runbook: Runbook | None = None
    #: A page of one's own, in place of a runbook here.
    runbook_url: str | None = None

    @model_validator(mode="after")
    def _says_what_it_knows(self) -> Rule:
        unknown = (places(self.summary) | places(self.description)) - {*self.by, "value"}
        if unknown:
            raise ValueError(
                f"the texts name {', '.join(sorted(unknown))}: write {{value}} or one of the "
                f"labels in `by` ({', '.join(self.by) or 'there are none'})"
            )
        if taken := _TAKEN & self.labels.keys():
            raise ValueError(f"label {', '.join(sorted(taken))} is the alert's own")
        return self

    def texts(self, labels: Mapping[str, str], value: float) -> tuple[str, str]:
        """Summary and description of an alert with these labels."""
        return (
            said(self.summary, self.unit, labels, value),
            said(self.description, self.unit, labels, value),
        )

    def runbook_link(self, page: str) -> str | None:
        """Where its runbook is, on the page that has all of them."""
        if self.runbook_url is not None:
            return self.runbook_url
        return f"{page}#{self.name.lower()}" if self.runbook is not None else None


class Objective(_Model):
    """A promise about a share: it becomes two rules, by how fast its budget is used up.

    Multi-window burn rates as in Google's "Site Reliability Workbook", chapter 5: the long window
    says that it matters, the short one that it still goes on.
    """

    name: Name
    #: The share that must be good, such as 0.999 over 30 days.
    objective: float = Field(gt=0.5, lt=1)
    #: What was bad, as a share of all.
    bad: Ratio
    summary: str = Field(min_length=1, max_length=200)
    description: str = Field(min_length=1, max_length=1_000)
    labels: dict[Label, str] = Field({}, max_length=15)
    runbook: Runbook | None = None

    def rules(self) -> tuple[Rule, Rule]:
        """The fast one, which pages, and the slow one."""
        return (
            self._rule("Fast", "page", ((14.4, 3_600, 300), (6.0, 21_600, 1_800)), 120),
            self._rule("Slow", "warning", ((3.0, 86_400, 7_200), (1.0, 259_200, 21_600)), 900),
        )

    def _rule(
        self,
        suffix: str,
        severity: Severity,
        burns: tuple[tuple[float, int, int], ...],
        for_s: int,
    ) -> Rule:
        budget = 1 - self.objective
        windows = tuple(
            All(
                all=tuple(
                    # Rounded: 14.4 times 0.001 is not written 0.014400000000000013.
                    Comparison(value=_within(self.bad, over), above=round(rate * budget, 12))
                    for over in (long, short)
                )
            )
            for rate, long, short in burns
        )
        return Rule.model_construct(
            name=f"{self.name}{suffix}",
            severity=severity,
            summary=self.summary,
            description=self.description,
            by=(),
            when=Any_(any=windows),
            unit="share",
            for_s=for_s,
            keep_firing_for=900,
            labels={**self.labels, "objective": self.name},
            runbook=self.runbook,
            runbook_url=None,
        )


class RuleFile(_Model):
    """A file of rules."""

    rules: tuple[Rule, ...] = Field((), max_length=MAX_RULES)
    objectives: tuple[Objective, ...] = Field((), max_length=50)
    #: Names of packaged rules that are not wanted.
    without: tuple[str, ...] = Field((), max_length=MAX_RULES)


def load_rules(own: Path | None = None) -> tuple[Rule, ...]:
    """Every rule that counts; ConfigurationError with a line for each mistake in the user's file.

    The order is the file's: packaged ones first.
    """
    packaged = read_rules(
        files(__package__).joinpath("default_rules.yaml").read_text("utf-8"), "default_rules.yaml"
    )
    rules = {rule.name: rule for rule in _all_of(packaged)}
    if own is not None:
        try:
            text = own.read_text("utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"monitor.alerts.rules: {own} cannot be read ({error.strerror or error})"
            ) from error
        written = read_rules(text, str(own))
        if unknown := set(written.without) - rules.keys():
            raise ConfigurationError(
                f"{own}: without: there is no packaged rule {', '.join(sorted(unknown))}; "
                "`hookline alerts rules --names` lists them"
            )
        for name in written.without:
            del rules[name]
        rules.update({rule.name: rule for rule in _all_of(written)})
    return tuple(rules.values())


def read_rules(text: str, place: str) -> RuleFile:
    """A file of rules from its text; `place` is what errors call it."""
    try:
        value = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise ConfigurationError(f"{place}{line}: this is not YAML") from error
    try:
        read = RuleFile.model_validate(value)
    except ValidationError as error:
        raise ConfigurationError(
            sorted({f"{place}: {_path(value, e['loc'])}: {_message(e)}" for e in error.errors()})
        ) from None
    names = [rule.name for rule in _all_of(read)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(f"{place}: {', '.join(twice)}: two rules have this name")
    return read


def horizons_s(rules: Sequence[Rule]) -> dict[str, int]:
    """The metrics that rules look at, and how far back."""
    found: dict[str, int] = {}
    for rule in rules:
        for selection in selections(rule.when):
            name = metric_of(selection)
            found[name] = max(found.get(name, 0), looks_back_s(selection))
    return found


def _all_of(file: RuleFile) -> list[Rule]:
    return [*file.rules, *(rule for one in file.objectives for rule in one.rules())]


def _within(ratio: Ratio, over_s: int) -> Ratio:
    """The same share of another window."""

    def other(vector: Any) -> Any:
        if isinstance(vector, Ratio):
            return _within(vector, over_s)
        return vector.model_copy(update={"over": over_s})

    return ratio.model_copy(update={"part": other(ratio.part), "whole": other(ratio.whole)})


#: Where pydantic names the form that a mapping has, behind its place; nobody has written that.
_FORMED: Final = frozenset({"when", "value", "part", "whole", "of"})
_UNWRITTEN: Final = frozenset({"float", "Times", "str", "Among", "Except", "Begins"})


def _path(value: Any, location: Sequence[int | str]) -> str:
    """Where a mistake is, with the rule's name in place of its number."""
    words: list[str] = []
    form_follows = False
    for part in location:
        if form_follows or part in _UNWRITTEN:
            form_follows = False
            continue
        inside = words[-1] if words else ""
        if isinstance(value, Mapping):
            value = value.get(part)
            form_follows = part in _FORMED and isinstance(value, Mapping)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
            form_follows = inside in ("all", "any")
            if isinstance(value, Mapping) and isinstance(value.get("name"), str):
                words[-1:] = [value["name"]]
                continue
        words.append(str(part))
    return ".".join(words) or "the file"


def _message(error: Any) -> str:
    message: str = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return "there is no such field"
    if error["type"] == "missing":
        return "is missing"
    return message
