"""YAML (and JSON, which it includes) to plain values, with the line of each, however hostile.

It is read event by event: composing a node for each value, as PyYAML does in C, ends the process
where a text is nested deep enough. No tags, no merge keys, no objects, and what aliases stand for
is counted as if it were written out, so that a small file cannot become a large value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import yaml

from schemas.errors import ConfigurationError

Path_ = tuple[str | int, ...]

# libyaml's parser is about ten times as fast, where PyYAML was built with it.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_DEPTH: Final = 64
_STR: Final = "tag:yaml.org,2002:str"
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_FLOAT: Final = re.compile(r"[+-]?([0-9]{1,20}\.[0-9]{0,20}|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?")
# YAML 1.2's core schema: `no` and `on` are words here, dates are texts.
_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


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
    reader = _Reader(name, max_nodes)
    try:
        value = reader.document(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}" if mark is not None else ""
        raise ConfigurationError(
            f"{name}{at}: is not YAML: look at the quotes, colons and indents there"
        ) from None
    except (yaml.YAMLError, UnicodeError):
        raise ConfigurationError(f"{name}: has characters that YAML cannot hold") from None
    return Located(name=name, value=value, lines=reader.lines, repeated=tuple(reader.repeated))


class _Reader:
    def __init__(self, name: str, max_nodes: int) -> None:
        self.lines: dict[Path_, int] = {}
        self.repeated: list[str] = []
        self._name = name
        self._left = max_nodes
        #: What an anchor stands for, and how many values that is.
        self._anchors: dict[str, tuple[Any, int]] = {}

    def document(self, text: str) -> Any:
        events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        value: Any = None
        count = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                count += 1
                if count > 1:
                    raise self._refused(event, "a second document begins; keep one in a file")
            elif isinstance(event, yaml.NodeEvent):
                value = self._value(event, events, ())
        return value

    def _value(self, event: Any, events: Iterator[Any], path: Path_) -> Any:
        self.lines.setdefault(path, event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent):
            found = self._anchors.get(str(event.anchor))
            if found is None:
                raise self._refused(event, "an alias stands before or within what it names")
            self._count(event, found[1], path)
            return found[0]
        before = self._left
        self._count(event, 1, path)
        if event.tag is not None and not _plain(event):
            raise self._refused(event, "has a tag (!); a text with ! in front is written in quotes")
        if isinstance(event, yaml.MappingStartEvent):
            value: Any = self._mapping(events, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(events, path)
        else:
            value = _scalar(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, before - self._left)
        return value

    def _sequence(self, events: Iterator[Any], path: Path_) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            found.append(self._value(event, events, (*path, len(found))))
        return found

    def _mapping(self, events: Iterator[Any], path: Path_) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refused(event, "a key must be a text")
            key, line = str(event.value), self._line(event)
            if key in found:
                self.repeated.append(f"{self._name}:{line}: {key[:80]} is here a second time")
                self._value(next(events), events, (*path, key))
                continue
            here = (*path, key)
            self.lines[here] = line
            found[key] = self._value(next(events), events, here)
        return found

    def _count(self, event: Any, values: int, path: Path_) -> None:
        self._left -= values
        if self._left < 0 or len(path) > _MAX_DEPTH:
            raise self._refused(event, "is too large or nested too deep")

    def _line(self, event: Any) -> int:
        line: int = event.start_mark.line + 1
        return line

    def _refused(self, event: Any, why: str) -> ConfigurationError:
        return ConfigurationError(f"{self._name}:{self._line(event)}: {why}")


def _plain(event: Any) -> bool:
    return bool(event.tag == _STR and isinstance(event, yaml.ScalarEvent))


def _scalar(event: Any) -> Any:
    text = str(event.value)
    # `implicit` says whether the text may be read as something else: not where it is quoted.
    if not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
