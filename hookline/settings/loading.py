"""Reads hookline.yaml and HOOKLINE_… overrides; tells every mistake at once, with its line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from hookline.settings.contradictions import contradictions
from hookline.settings.model import SECRET_PROPERTIES, ConnectionSettings, Settings
from hookline.settings.yaml_source import Source, dotted, read_source, scalar
from producer.providers.registry import PROVIDERS
from schemas.errors import ConfigurationError

__all__ = ["ConnectionSettings", "Settings", "load"]

_PREFIX: Final = "HOOKLINE_"
#: HOOKLINE_… variables that are no overrides.
_RESERVED: Final = frozenset({"HOOKLINE_CONFIG", "HOOKLINE_PARTS", "HOOKLINE_REQUIRE_PARTS"})
_DEFAULT: Final = Path("hookline.yaml")
_SECRET_PLACES: Final = frozenset(
    {
        "secrets",
        "ref",
        "store",
        "store_password",
        "password",
        "url",
        "proxy",
        "bearer",
        "address",
        "token",
        "role_id",
        "secret_id",
        "endpoint_url",
        "client_secret",
        "app_secret",
        *SECRET_PROPERTIES,
    }
)
_STRUCTURES: Final = frozenset({"model_type", "dict_type", "list_type"})

Location = tuple[str | int, ...]


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The checked settings; ConfigurationError with a line for each mistake.

    The file is `path`, else HOOKLINE_CONFIG, else ./hookline.yaml.
    """
    return check(read_source(path or Path(environ.get("HOOKLINE_CONFIG") or _DEFAULT)), environ)


def check(source: Source, environ: Mapping[str, str]) -> Settings:
    """The checked settings of what was read; ConfigurationError with a line for each mistake."""
    problems = source.problems
    places = _override(source, environ, problems)
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(source.value)
    except ValidationError as error:
        problems.extend(_explain(e, Settings, (), source, places) for e in error.errors())
    problems.extend(_wrong_options(source, places))
    problems.extend(_repeated(source))
    if settings is not None:
        for found in contradictions(settings):
            written = [p for p in found.places if p in places or p in source.lines]
            where = _where((written or found.places)[0], source, places)
            problems.append(f"{where}: {found.message}")
    if problems or settings is None:
        raise ConfigurationError(sorted(dict.fromkeys(problems), key=_by_line))
    return settings


def _by_line(problem: str) -> tuple[str, int]:
    file, _, rest = problem.partition(":")
    line = rest.partition(":")[0]
    return file, int(line) if line.isdigit() else 0


def _override(
    source: Source, environ: Mapping[str, str], problems: list[str]
) -> dict[Location, str]:
    """Set what HOOKLINE_… variables say; where each value so set came from."""
    places: dict[Location, str] = {}
    for name in sorted(environ):
        if not name.startswith(_PREFIX) or name in _RESERVED:
            continue
        path: list[str | int] = [
            int(part) if part.isdecimal() else part.lower()
            for part in name.removeprefix(_PREFIX).split("__")
        ]
        if path[0] not in Settings.model_fields:
            # Somebody else's variable, perhaps: HOOKLINE_ is a prefix of ours in their tools too.
            near = difflib.get_close_matches(str(path[0]), Settings.model_fields, 1, 0.8)
            if near:
                problems.append(f"{name}: there is no setting {path[0]!r}; did you mean {near[0]}?")
            continue
        if _set(source.value, path, scalar(environ[name])):
            places[tuple(path)] = name
        else:
            problems.append(
                f"{name}: there is nothing to set at {dotted(tuple(path))}; an item of a list is "
                "numbered from 0 and must be in the file"
            )
    return places


def _set(value: Any, path: Sequence[str | int], new: Any) -> bool:
    *parents, last = path
    for part in parents:
        if isinstance(value, dict) and isinstance(part, str):
            if value.get(part) is None:
                value[part] = {}
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return False
    if isinstance(value, dict) and isinstance(last, str):
        value[last] = new
        return True
    if isinstance(value, list) and isinstance(last, int) and last < len(value):
        value[last] = new
        return True
    return False


def _where(location: Location, source: Source, places: Mapping[Location, str]) -> str:
    for length in range(len(location), 0, -1):
        if name := places.get(location[:length]):
            return name
    return source.where(location)


def _explain(
    error: Any,
    model: type[BaseModel],
    base: Location,
    source: Source,
    places: Mapping[Location, str],
) -> str:
    location = (*base, *error["loc"])
    where = f"{_where(location, source, places)}: {dotted(location)}"
    kind = error["type"]
    if kind == "extra_forbidden":
        known = _fields_at(model, error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, 1, 0.6)
        if not near and _SECRET_PLACES & set(map(str, location[:-1])):
            where = f"{_where(location, source, places)}: {dotted(location[:-1])}"
            return (
                f"{where} has a setting (not shown, it may be a secret) that is none; there are "
                + (", ".join(known))
            )
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        return f"{where} is no setting; {hint}"
    if kind == "missing":
        return f"{where} is missing"
    message = error["msg"].removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        message = _PATTERNS.get(str(error.get("ctx", {}).get("pattern")), message)
    if kind == "model_type" or kind == "dict_type":
        message = "must be a mapping, such as `name: value` lines below it"
    # Where a list or a mapping belongs, what stands there is meant for something inside it.
    if kind not in _STRUCTURES and not _SECRET_PLACES & set(map(str, location)):
        given = _given(source.value, location)
        message += "" if given is None else f"; it is {given!r}"
    return f"{where}: {message}"


_PATTERNS: Final = {
    r"^[a-z0-9][a-z0-9._-]{0,62}$": (
        "write up to 63 small letters, digits, dots, dashes or underscores, a letter or digit first"
    ),
    r"^\S*:\d{1,5}$": "write host:port, such as 0.0.0.0:8080",
    r"^[A-Za-z0-9._-]{1,249}$": "write up to 249 letters, digits, dots, dashes or underscores",
    r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$": "write module:name, such as examples.orders:handlers",
    r"^[a-z+]+://.+": "write a store's URL, such as sqlite:///state/orders.db",
}


def _fields_at(model: type[BaseModel], location: Location) -> list[str]:
    fields: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        annotation = fields.model_fields[part].annotation
        inner = [a for a in getattr(annotation, "__args__", ()) if isinstance(a, type)]
        fields = inner[0] if inner else annotation
    return list(fields.model_fields) if hasattr(fields, "model_fields") else []


def _given(value: Any, location: Location) -> Any:
    """A short scalar that the message may repeat, or None."""
    for part in location:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value if isinstance(value, int | float | str) and len(str(value)) <= 60 else None


def _connections(source: Source) -> list[tuple[int, dict[str, Any]]]:
    found = source.value.get("connections")
    if not isinstance(found, list):
        return []
    return [(n, item) for n, item in enumerate(found) if isinstance(item, dict)]


def _wrong_options(source: Source, places: Mapping[Location, str]) -> list[str]:
    problems: list[str] = []
    for n, item in _connections(source):
        name = item.get("provider")
        if not isinstance(name, str):
            continue
        provider = PROVIDERS.get(name)
        if provider is None:
            near = difflib.get_close_matches(name, PROVIDERS, 1, 0.4)
            hint = f"did you mean {near[0]}? " if near else ""
            problems.append(
                f"{_where(('connections', n, 'provider'), source, places)}: connections[{n}]"
                f".provider: {name!r} is no provider; {hint}write one of "
                f"{', '.join(sorted(PROVIDERS))}"
            )
            continue
        options = item.get("options", {})
        base: Location = ("connections", n, "options")
        try:
            provider.Options.model_validate(options)
        except ValidationError as error:
            problems.extend(
                _explain(e, provider.Options, base, source, places) for e in error.errors()
            )
    return problems


def _repeated(source: Source) -> list[str]:
    problems: list[str] = []
    seen: dict[str, int] = {}
    for n, item in _connections(source):
        first = seen.setdefault(str(item.get("id")), n)
        if first != n and item.get("id") is not None:
            problems.append(
                f"{source.where(('connections', n, 'id'))}: connections[{n}].id: "
                f"{item['id']!r} is also the id at "
                f"{source.where(('connections', first, 'id'))}; each connection needs its own"
            )
        names: dict[str, int] = {}
        secrets = item.get("secrets")
        for at, secret in enumerate(secrets if isinstance(secrets, list) else []):
            if not isinstance(secret, dict) or secret.get("name") is None:
                continue
            if names.setdefault(str(secret["name"]), at) != at:
                problems.append(
                    f"{source.where(('connections', n, 'secrets', at, 'name'))}: connections[{n}]"
                    f".secrets[{at}].name: two secrets of one connection have this name; "
                    "metrics tell them apart by it"
                )
    return problems
