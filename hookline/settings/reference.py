"""The page about every setting, made from the models, so that it cannot say anything else."""

from __future__ import annotations

from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from hookline.settings.model import Settings

_HEAD = """\
# Configuration

One YAML file, `hookline.yaml` (`--config` or `HOOKLINE_CONFIG` names another). Every setting can
also be given as an environment variable, with `__` between the names and list items numbered from
0: `HOOKLINE_GATEWAY__LISTEN=0.0.0.0:9000`, `HOOKLINE_CONNECTIONS__0__TENANT=acme`.

`hookline config check` tells every mistake at once, each with its line; `hookline config example`
prints a file to start from; `hookline config schema` prints the JSON Schema for your editor.

Made by `hookline config docs` from the models; do not edit.
"""


def settings_page() -> str:
    """The page in Markdown."""
    return _HEAD + "".join(_section("", Settings))


def _section(prefix: str, model: type[BaseModel]) -> list[str]:
    rows: list[str] = []
    inner: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        below = _model_of(field.annotation)
        if below is not None:
            origin = get_origin(field.annotation)
            repeated = "[]" if origin is list else ".{id}" if origin is dict else ""
            inner.append((path + repeated, below))
            continue
        default = "required" if field.default is PydanticUndefined else f"`{field.default!s}`"
        bounds = ", ".join(
            f"{word} {getattr(rule, key)}"
            for rule in field.metadata
            for key, word in (("ge", "at least"), ("gt", "more than"), ("le", "at most"))
            if getattr(rule, key, None) is not None
        )
        about = " ".join(filter(None, [field.description, f"({bounds})" if bounds else ""]))
        rows.append(f"| `{path}` | {default} | {about.replace('|', ',')} |\n")
    parts: list[str] = []
    if rows:
        title = prefix.rstrip(".") or "Top level"
        doc = (model.__doc__ or "").strip()
        parts = [f"\n## {title}\n\n{doc}\n\n| setting | default | |\n|---|---|---|\n", *rows]
    for path, below in inner:
        parts.extend(_section(f"{path}.", below))
    return parts


def _model_of(annotation: Any) -> type[BaseModel] | None:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
