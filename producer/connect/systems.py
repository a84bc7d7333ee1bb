"""The catalogue: every system's entry, ours and the user's own, read once and checked.

A user's entry with the id of one of ours takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from producer.connect import located_yaml
from producer.connect.checking import Mistake, mistakes
from producer.connect.located_yaml import Located, Path_
from producer.connect.system import System
from schemas.errors import ConfigurationError

MAX_CHARS: Final = 200_000
MAX_NODES: Final = 20_000
MAX_ENTRIES: Final = 1_000
#: As an entry's file is called: `<id>.yaml`.
SUFFIX: Final = ".yaml"


class Catalogue:
    """Systems by their ids; unchanging."""

    def __init__(self, systems: Iterable[System]) -> None:
        found = {system.id: system for system in systems}
        # What is for any system stands behind those with a name.
        self._systems = dict(
            sorted(found.items(), key=lambda item: (item[0].startswith("any-"), item[1].name))
        )

    @classmethod
    def load(cls, extra_folder: Path | None = None) -> Catalogue:
        """Ours and those of the folder; ConfigurationError with a line for each mistake of each."""
        systems: list[System] = []
        problems: list[str] = []
        paths = _theirs(extra_folder) if extra_folder is not None else []
        sources: list[tuple[str, Callable[[], str]]] = list(_ours())
        sources.extend((path.name, partial(read_text, path)) for path in paths)
        for name, read in sources:
            try:
                systems.append(read_entry(read(), name))
            except ConfigurationError as error:
                problems.extend(error.problems)
        if problems:
            raise ConfigurationError(problems)
        return cls(systems)

    def get(self, system_id: str) -> System | None:
        """The system with this id."""
        return self._systems.get(system_id)

    def all(self) -> list[System]:
        """Every system, by name; those for any system last."""
        return list(self._systems.values())

    def __len__(self) -> int:
        return len(self._systems)


def read_entry(text: str, name: str) -> System:
    """The entry that a file holds; ConfigurationError with `file:line` for each mistake."""
    located = located_yaml.parse(text, name, max_chars=MAX_CHARS, max_nodes=MAX_NODES)
    problems = list(located.repeated)
    if not isinstance(located.value, dict):
        raise ConfigurationError(f"{name}:1: must be an entry, beginning with `id:` and `name:`")
    try:
        system = System.model_validate(located.value)
    except ValidationError as error:
        problems.extend(_explained(located, dict(item)) for item in error.errors())
        raise ConfigurationError(sorted(dict.fromkeys(problems), key=_line)) from None
    problems.extend(_said(located, mistake) for mistake in mistakes(system))
    stem = name.removesuffix(SUFFIX)
    if stem != system.id:
        problems.append(
            f"{located.where(('id',))}: id: is {system.id!r}, so the file must be called "
            f"{system.id}{SUFFIX}"
        )
    if problems:
        raise ConfigurationError(sorted(dict.fromkeys(problems), key=_line))
    return system


def _ours() -> Iterator[tuple[str, Callable[[], str]]]:
    folder = files("producer.connect").joinpath("catalogue")
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.name.endswith(SUFFIX):
            yield item.name, partial(item.read_text, "utf-8")


def _theirs(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ConfigurationError(
            f"{folder}: there is no such folder; connect.catalogue names a folder of entries"
        )
    paths = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))
    if len(paths) > MAX_ENTRIES:
        raise ConfigurationError(f"{folder}: has more than {MAX_ENTRIES} entries")
    return paths


def read_text(path: Path, max_chars: int = MAX_CHARS) -> str:
    """The file's text; ConfigurationError if it cannot be read, or is far too large."""
    try:
        with path.open("rb") as file:
            # Four bytes a character at most; the rest of a huge file is not even read.
            data = file.read(4 * max_chars + 1)
        return data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        if len(data) > 4 * max_chars:
            raise ConfigurationError(
                f"{path.name}: is over {max_chars} characters; is it the right file?"
            ) from None
        raise ConfigurationError(f"{path.name}: is not UTF-8; save it as UTF-8") from None


def _said(located: Located, mistake: Mistake) -> str:
    return f"{located.where(mistake.path)}: {dotted(mistake.path)}: {mistake.text}"


def _explained(located: Located, item: dict[str, object]) -> str:
    loc = item["loc"]
    assert isinstance(loc, tuple)
    path = _written(located, loc)
    kind = str(item["type"])
    message = str(item["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        message = "there is no such key"
    elif kind == "missing":
        message = "is needed"
    where = located.where(path)
    return f"{where}: {dotted(path)}: {message}" if path else f"{where}: {message}"


def _written(located: Located, loc: Path_) -> Path_:
    """The path as the file has it: pydantic also names which of several models was tried."""
    path: Path_ = ()
    for number, part in enumerate(loc):
        longer = (*path, part)
        last = number == len(loc) - 1
        if longer in located.lines or (last and part not in ("[key]",)):
            path = longer
    return path


def dotted(path: Path_) -> str:
    """`a.b[0].c`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _line(problem: str) -> tuple[str, int]:
    file, _, rest = problem.partition(":")
    line = rest.partition(":")[0]
    return file, int(line) if line.isdigit() else 0
