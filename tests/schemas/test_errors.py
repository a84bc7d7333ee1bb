"""The error tree is the one that its docstring draws."""

from __future__ import annotations

import re

import pytest

from schemas import errors
from schemas.errors import CodecError, ConfigurationError, HooklineError, PublishError


def drawn() -> dict[str, str]:
    """{error: its parent} of the module's docstring."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"(?P<lines>[│├└─ ]*)(?P<name>[A-Z]\w+)(\s{2,}(?P<about>\S.*))?$", line)
        if match is None:
            continue
        depth = len(match["lines"]) // 4
        path[depth:] = [match["name"]]
        if depth:
            parents[match["name"]] = path[depth - 1]
    return parents


def real() -> dict[str, str]:
    return {
        name: error.__base__.__name__
        for name, error in vars(errors).items()
        if isinstance(error, type) and issubclass(error, Exception) and error is not HooklineError
    }


def test_the_docstring_draws_the_real_tree() -> None:
    assert drawn() == real()


def test_it_draws_them_in_the_order_of_the_module() -> None:
    assert list(drawn()) == list(real())


def test_every_error_of_ours_is_a_hookline_error_with_a_docstring() -> None:
    for name in real():
        error = getattr(errors, name)
        assert issubclass(error, HooklineError)
        assert error.__doc__, name


def test_a_codec_error_has_a_code_of_its_own() -> None:
    subclasses = CodecError.__subclasses__()
    assert len({error.reason for error in subclasses}) == len(subclasses)
    for error in subclasses:
        assert re.fullmatch(r"[a-z_]+", error.reason)


def test_what_the_publisher_raises_is_one_family() -> None:
    assert {error.__name__ for error in PublishError.__subclasses__()} == {
        *("Overloaded", "NotAcknowledged", "PublisherClosed", "SpoolFull", "SpoolFailed"),
    }


@pytest.mark.parametrize("problems", ["one mistake", ["one mistake", "another"]])
def test_a_configuration_error_has_a_line_for_each_mistake(problems: str | list[str]) -> None:
    error = ConfigurationError(problems)
    assert len(error.problems) == len(str(error).splitlines())
