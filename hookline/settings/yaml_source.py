"""YAML with the line of every value, so that each mistake can be pointed at.

Builds plain values from PyYAML's nodes itself: no tags, no merge keys, no objects.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

from schemas.errors import ConfigurationError

_MAX_BYTES: Final = 1024 * 1024
_MAX_NODES: Final = 100_000
_MAX_DEPTH: Final = 50
_QUOTED: Final = re.compile(r"'([^']*)'")
#: What PyYAML quotes that is no text of the file's, or a character of it.
_HARMLESS: Final = re.compile(r".?|\\t|<[a-z ]+>", re.DOTALL)
#: `a: b` and further in below it `c:d` are one text to YAML, as a colon needs a space.
_SWALLOWED: Final = re.compile(r"(?<![\s,])\s+[A-Za-z_][\w.-]*:(?!//)")

Path_ = tuple[str | int, ...]


class Source:
    """A parsed file: its value, and where each part of it stands."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.value: Any = {}
        self.lines: dict[Path_, int] = {}
        self.problems: list[str] = []
        self._nodes = 0

    def where(self, path: Path_) -> str:
        """`file:line` of a value, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.name}:{self.lines.get(path, 1)}"


def read_source(path: Path) -> Source:
    """The file's values; ConfigurationError if it cannot be read as YAML at all."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path}: there is no such file; `hookline config example > hookline.yaml` writes one "
            "to start from, and --config or HOOKLINE_CONFIG names another"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > _MAX_BYTES:
        raise ConfigurationError(f"{path}: is over {_MAX_BYTES} bytes; is it the right file?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path.name}:{line}: is not UTF-8; save it as UTF-8") from None
    return parse_source(text, path.name)


def parse_source(text: str, name: str) -> Source:
    """The values of a YAML text; ConfigurationError if it is not YAML."""
    source = Source(name)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        if "end of stream" in str(error):
            # What was opened and not closed: its beginning is what one looks for.
            mark = getattr(error, "context_mark", None) or mark
        at = f":{mark.line + 1}" if mark is not None else ""
        column = f" (column {mark.column + 1})" if mark is not None else ""
        problem = str(getattr(error, "problem", None) or "it cannot be read")
        # It may quote an alias or a tag, which is how a password with * or ! in front is read.
        problem = _QUOTED.sub(
            lambda quoted: quoted[0] if _HARMLESS.fullmatch(quoted[1]) else "(not shown)", problem
        )
        if "'\\t'" in problem:
            problem = "a tab; YAML is indented with spaces"
        if "(not shown)" in problem:
            problem += "; a text with *, & or ! in front is written in quotes"
        raise ConfigurationError(f"{name}{at}: is not YAML: {problem}{column}") from None
    except RecursionError:
        raise ConfigurationError(f"{name}: is nested too deep") from None
    if node is not None:
        source.value = _build(node, (), source)
    if source.value is None:
        source.value = {}
    if not isinstance(source.value, dict):
        raise ConfigurationError(f"{name}:1: must be a mapping such as `environment: production`")
    return source


def scalar(text: str) -> Any:
    """A value as YAML reads it where it stands alone; the text itself if it is none."""
    try:
        return parse_source(f"value: {text}", "").value["value"]
    except ConfigurationError:
        return text


def _build(node: yaml.Node, path: Path_, source: Source) -> Any:
    source.lines[path] = node.start_mark.line + 1
    source._nodes += 1
    # Aliases can make a small file stand for a huge value.
    if source._nodes > _MAX_NODES or len(path) > _MAX_DEPTH:
        raise ConfigurationError(
            f"{source.where(path)}: is too large or nested too deep for a configuration"
        )
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            here = (*path, key)
            if key in found:
                source.problems.append(
                    f"{source.name}:{key_node.start_mark.line + 1}: {dotted(here)} is here a "
                    f"second time (first in line {source.lines[here]}); keep one"
                )
                continue
            found[key] = _build(value_node, here, source)
            source.lines[here] = key_node.start_mark.line + 1
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_build(child, (*path, n), source) for n, child in enumerate(node.value)]
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    if plain and (swallowed := _SWALLOWED.search(node.value)):
        # Not shown: what follows may be a secret. Dropped, so that no other error shows it.
        source.problems.append(
            f"{source.where(path)}: {dotted(path)} holds a second setting: write that in a line of "
            "its own, no further in than this one, with a space after its colon"
        )
        node.value = node.value[: swallowed.start()]
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError, OverflowError):
        return node.value


def dotted(path: Path_) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
