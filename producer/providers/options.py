"""What all providers' options have in common: closed, frozen, and explained when wrong."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class ProviderOptions(BaseModel):
    """A connection's `options:`; an option that does not exist is a mistake, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def problems(error: ValidationError, model: type[BaseModel], provider: str) -> list[str]:
    """One line for each mistake: the option, what is wrong, what to write."""
    return [_problem(dict(item), model, provider) for item in error.errors(include_url=False)]


def _problem(item: dict[str, Any], model: type[BaseModel], provider: str) -> str:
    path = ".".join(str(part) for part in item["loc"])
    option = model.model_fields.get(str(item["loc"][0])) if item["loc"] else None
    where = f"options.{path}" if path else "options"
    if item["type"] == "extra_forbidden":
        there = ", ".join(sorted(model.model_fields)) or "none"
        return f"{where}: provider {provider!r} has no such option; there are: {there}"
    about = f"; it is {option.description}" if option is not None and option.description else ""
    if item["type"] == "missing":
        return f"{where}: is needed{about}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]}{about}"
