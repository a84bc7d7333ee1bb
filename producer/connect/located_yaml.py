"""YAML (and JSON, which it includes) to plain values, with the line of each, however hostile.

No tags, no merge keys, no objects, and what aliases stand for is counted as if it were written
out, so that a small file cannot become a large value.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import yaml

from schemas.errors import ConfigurationError

Path_ = tuple[str | int, ...]

# libyaml's parser is about ten times as fast, where PyYAML was built with it.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_DEPTH: Final = 64
_BOOLEANS: Final = {"true": True, "True": True, "false": False, "False": False}


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """A document's value and where each part of it begins."""

    name: str
    value: Any
    lines: dict[Path_, int]
    #: Keys that are there a second time, each as a line of text.
    repeated: tuple[str, ...] = ()

    def where(self, path: Path_) -> str:
        """`name:line` of a part, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.name}:{self.lines.get(path, 1)}"


def parse(text: str, name: str, *, max_chars: int, max_nodes: int) -> Located:
    """The document's value; ConfigurationError, which quotes nothing of it, if it is none."""
    if len(text) > max_chars:
        raise ConfigurationError(f"{name}: is over {max_chars} characters; is it the right file?")
    try:
        node = _composed(text)
        reader = _Reader(name, max_nodes)
        value = None if node is None else reader.value_of(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}" if mark is not None else ""
        raise ConfigurationError(
            f"{name}{at}: is not YAML: look at the quotes, colons and indents there"
        ) from None
    except yaml.YAMLError:
        raise ConfigurationError(f"{name}: has characters that YAML cannot hold") from None
    except RecursionError:
        raise ConfigurationError(f"{name}: is nested too deep") from None
    return Located(name=name, value=value, lines=reader.lines, repeated=tuple(reader.repeated))


def _composed(text: str) -> yaml.Node | None:
    loader = _LOADER(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


class _Reader:
    def __init__(self, name: str, max_nodes: int) -> None:
        self.lines: dict[Path_, int] = {}
        self.repeated: list[str] = []
        self._name = name
        self._left = max_nodes

    def value_of(self, node: yaml.Node, path: Path_) -> Any:
        self._left -= 1
        line = node.start_mark.line + 1
        if self._left < 0 or len(path) > _MAX_DEPTH:
            raise ConfigurationError(f"{self._name}:{line}: is too large or nested too deep")
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value_of(child, (*path, n)) for n, child in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigurationError(f"{self._name}:{line}: a key must be a text")
            key = str(key_node.value)
            if key in found:
                self.repeated.append(f"{self._name}:{line}: {key[:80]} is here a second time")
                continue
            here = (*path, key)
            self.lines[here] = line
            found[key] = self.value_of(value_node, here)
        return found


def _scalar(node: yaml.Node) -> Any:
    text = str(node.value)
    if node.tag == "tag:yaml.org,2002:null":
        return None
    if node.tag == "tag:yaml.org,2002:bool":
        # `no` and `on` are words here: a country, a state.
        return _BOOLEANS.get(text, text)
    if node.tag == "tag:yaml.org,2002:int" and len(text) <= 18 and text.lstrip("+-").isdigit():
        return int(text)
    if node.tag == "tag:yaml.org,2002:float" and len(text) <= 40:
        try:
            return float(text)
        except ValueError:
            return text
    # Dates and whatever else YAML guesses at stay the texts that they are.
    return text
