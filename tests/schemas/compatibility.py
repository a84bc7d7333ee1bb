"""Checks a record's released versions against the compatibility that their `doc` declares.

By doing it: records that reach every branch of a union and every symbol of an enum are written
by one version and read by another, with fastavro's schema resolution.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from itertools import pairwise
from typing import Any

import fastavro
from fastavro.utils import generate_many

Schema = dict[str, Any]
# More than any union has branches and any enum has symbols.
_SAMPLES = 16


def declared(schema: Schema) -> str:
    """Such as FULL_TRANSITIVE; ValueError where the `doc` declares none."""
    match = re.search(r"Compatibility: ([A-Z_]+)\.", schema.get("doc", ""))
    if match is None:
        raise ValueError(f"the doc of {schema.get('name')} declares no compatibility")
    return match[1]


def must_read(mode: str, versions: list[int]) -> Iterator[tuple[int, int]]:
    """(writer, reader) for each pair of versions that the mode promises."""
    transitive = mode.endswith("_TRANSITIVE")
    pairs = (
        ((old, new) for new in versions for old in versions if old < new)
        if transitive
        else pairwise(versions)
    )
    direction = mode.removesuffix("_TRANSITIVE")
    if direction not in ("FULL", "BACKWARD", "FORWARD"):
        raise ValueError(f"{mode} is no compatibility")
    for old, new in pairs:
        if direction != "FORWARD":
            yield old, new
        if direction != "BACKWARD":
            yield new, old


def problems(versions: Mapping[int, Schema]) -> list[str]:
    """What the versions promise and do not keep; a line each."""
    found = []
    numbers = sorted(versions)
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(f"versions {numbers} leave a gap")
    modes = {number: declared(versions[number]) for number in numbers}
    if len(set(modes.values())) > 1:
        found.append(f"the versions do not agree on one compatibility: {modes}")
    for writer, reader in must_read(modes[numbers[-1]], numbers):
        problem = _read_problem(versions[writer], versions[reader])
        if problem:
            found.append(f"v{reader} cannot read what v{writer} wrote: {problem}")
    return found


def _read_problem(writer: Schema, reader: Schema) -> str:
    # Resolution must not depend on what fastavro remembers of a version parsed before.
    written = fastavro.parse_schema(writer, named_schemas={})
    wanted = fastavro.parse_schema(reader, named_schemas={})
    if written["name"] != wanted["name"]:
        return f"it is called {written['name']} there and {wanted['name']} here"
    for record in generate_many(written, _SAMPLES):
        buffer = BytesIO()
        fastavro.schemaless_writer(buffer, written, record)
        buffer.seek(0)
        try:
            fastavro.schemaless_reader(buffer, written, wanted)
        # Whatever the resolution trips over is the answer.
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return ""
