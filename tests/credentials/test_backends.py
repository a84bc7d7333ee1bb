"""The contract of a secret backend. A new backend joins with one line in BACKENDS."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from credentials.environment import EnvironmentBackend
from credentials.file import FileBackend
from credentials.reference import parse_reference
from credentials.resolver import Resolver, SecretBackend
from credentials.secret import Secret
from schemas.errors import SecretReferenceError, SecretUnavailable


class Place(NamedTuple):
    """A backend under test, and how to put a value there; `put` gives its reference."""

    backend: SecretBackend
    put: Callable[[str, bytes], str]
    absent: str


def environment_place(tmp_path: Path) -> Place:
    environ: dict[str, str] = {}

    def put(name: str, value: bytes) -> str:
        environ[name] = value.decode("utf-8", "surrogateescape")
        return f"env:{name}"

    return Place(EnvironmentBackend(environ), put, "env:NOT_THERE")


def file_place(tmp_path: Path) -> Place:
    def put(name: str, value: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(value)
        path.chmod(0o600)
        return f"file:{path}"

    return Place(FileBackend(), put, f"file:{tmp_path}/NOT_THERE")


BACKENDS = {
    "env": environment_place,
    "file": file_place,
}


@pytest.fixture(params=BACKENDS)
def place(request, tmp_path) -> Place:
    return BACKENDS[request.param](tmp_path)


def fetch(place: Place, ref: str) -> Secret:
    return place.backend.fetch(parse_reference(ref))


@pytest.mark.parametrize("value", ["whsec_abc+/=", "pass word", "grüß gott", "a", "x" * 60_000])
def test_a_value_comes_back_as_it_was_put(place, value):
    assert fetch(place, place.put("A", value.encode())).reveal() == value


def test_a_changed_value_is_seen_at_the_next_fetch(place):
    ref = place.put("A", b"first")
    fetch(place, ref)
    place.put("A", b"second")
    assert fetch(place, ref) == Secret("second")


def test_an_absent_secret_is_unavailable_and_named(place):
    with pytest.raises(SecretUnavailable, match="NOT_THERE"):
        fetch(place, place.absent)


def test_an_empty_secret_is_unavailable(place):
    with pytest.raises(SecretUnavailable, match="empty"):
        fetch(place, place.put("A", b""))


def test_a_value_that_is_not_text_is_unavailable_and_not_shown(place):
    ref = place.put("A", b"canary\xff\xfe")
    with pytest.raises(SecretUnavailable, match="base64") as caught:
        fetch(place, ref)
    error: BaseException | None = caught.value
    while error is not None:
        assert "canary" not in repr(error)
        assert "canary" not in "".join(traceback.format_exception(error))
        error = error.__context__


def test_the_resolver_finds_the_backend_by_its_scheme(place):
    seen: list[Secret] = []
    resolver = Resolver([place.backend], on_resolved=seen.append)
    assert resolver.resolve(place.put("A", b"value")) == Secret("value")
    assert seen == [Secret("value")]


@pytest.mark.parametrize("ref", ["vault:secret/a#k", "aws-sm:a#k", "azure-kv:v/n"])
def test_a_scheme_whose_backend_is_still_to_come_says_so(place, ref):
    with pytest.raises(SecretUnavailable, match=r"known scheme.*no backend for it yet; use \w+:"):
        Resolver([place.backend]).resolve(ref)


def test_the_resolver_refuses_a_literal(place):
    with pytest.raises(SecretReferenceError) as caught:
        Resolver([place.backend]).resolve("whsec_canary")
    assert "canary" not in str(caught.value)
