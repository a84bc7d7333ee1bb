"""The contract of a writer of secrets. A new one joins as a place in writing_places.py."""

from __future__ import annotations

import logging
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from credentials.reference import parse_reference
from credentials.secret import Secret
from credentials.writing import SecretWriter
from schemas.connection import SecretReference
from schemas.errors import BackendAway, SecretError, SecretReferenceError, SecretUnavailable
from tests.credentials.places import closed_port, silent_port
from tests.credentials.writing_places import (
    FOREIGN,
    WRITING,
    ForeignPlace,
    WritingPlace,
    writing_place_named,
)

NAME = "acme/c/f"
CANARY = Secret("canary")


@pytest.fixture(params=WRITING)
def place(request: pytest.FixtureRequest) -> WritingPlace:
    return writing_place_named(request.param, request)


@pytest.fixture(params=FOREIGN)
def foreign(request: pytest.FixtureRequest) -> ForeignPlace:
    found = writing_place_named(request.param, request)
    assert isinstance(found, ForeignPlace)
    return found


def fetch(place: WritingPlace, ref: str) -> Secret:
    return place.reader.fetch(parse_reference(ref))


def failure(do: object, kind: type[SecretError]) -> str:
    """What it says; of just that kind, and with no canary anywhere behind it."""
    assert callable(do)
    with pytest.raises(kind) as caught:
        do()
    assert type(caught.value) is kind
    error: BaseException | None = caught.value
    while error is not None:
        assert "canary" not in repr(error) + "".join(traceback.format_exception(error))
        error = error.__context__
    return str(caught.value)


@pytest.mark.parametrize(
    "value", ["whsec_abc+/=", " pass word\n", "grüß gott \U0001f511", "a", '{"a": 1}', "x\r\n\0y"]
)
def test_what_is_written_is_read_by_its_reference(place: WritingPlace, value: str) -> None:
    ref = place.writer.write(NAME, Secret(value))
    assert ref.startswith(f"{place.writer.scheme}:")
    # It can stand in a connection.
    assert SecretReference(name="a", ref=ref).ref == ref
    assert fetch(place, ref).reveal() == value


def test_the_largest_value_is_kept_whole(place: WritingPlace) -> None:
    value = "x" * place.largest
    assert fetch(place, place.writer.write(NAME, Secret(value))).reveal() == value


def test_a_newer_value_takes_the_place_of_the_older(place: WritingPlace) -> None:
    ref = place.writer.write(NAME, Secret("one"))
    for value in ("two", "three", "three"):
        assert place.writer.write(NAME, Secret(value)) == ref
        assert fetch(place, ref) == Secret(value)


def test_names_that_look_alike_are_kept_apart(place: WritingPlace) -> None:
    names = ["a.b/c/d", "a-b/c/d", "a/b.c/d", "a/b-c/d", "a_b/c/d", "a-/b/c", "a/-b/c", "1/2/3"]
    names += [f"{'x' * 63}/{'y' * 63}/{end}" for end in ("z" * 62, "z" * 63)]
    refs = [place.writer.write(name, Secret(name)) for name in names]
    assert len(set(refs)) == len({ref.lower() for ref in refs}) == len(names)
    assert [fetch(place, ref).reveal() for ref in refs] == names
    place.writer.delete(refs[0])
    assert [fetch(place, ref).reveal() for ref in refs[1:]] == names[1:]


def test_what_is_deleted_is_refused_and_nothing_of_it_is_left(place: WritingPlace) -> None:
    ref = place.writer.write(NAME, Secret("one"))
    place.writer.write(NAME, Secret("two"))
    assert place.left(ref)
    place.writer.delete(ref)
    with pytest.raises(SecretUnavailable) as caught:
        fetch(place, ref)
    assert not isinstance(caught.value, BackendAway)
    assert not place.left(ref)
    # Once more is no mistake: two may take away the same.
    place.writer.delete(ref)


def test_a_name_is_free_again_after_it_was_deleted(place: WritingPlace) -> None:
    ref = place.writer.write(NAME, Secret("one"))
    place.writer.delete(ref)
    assert place.writer.write(NAME, Secret("two")) == ref
    assert fetch(place, ref) == Secret("two")


def test_what_is_not_below_its_prefix_is_not_taken_away(place: WritingPlace) -> None:
    ref = place.writer.write(NAME, Secret("one"))
    other = "env:HOME" if place.writer.scheme != "env" else "file:/x"
    for wrong in (place.elsewhere, place.prefixed(ref), other, "vault:secret/a/b#other"):
        assert "not written by Hookline" in failure(
            lambda ref=wrong: place.writer.delete(ref), SecretReferenceError
        )
    assert fetch(place, place.elsewhere) == Secret("x")
    assert fetch(place, ref) == Secret("one")


@pytest.mark.parametrize(
    "name",
    ["", "canary", "acme/canary", "acme/c/canary/x", "Acme/canary/f", "../canary/f", "a/./canary",
     "acme//canary", "acme/canary/", "/acme/canary", "acme/canary f/x", "acme/canary#/x",
     f"acme/c/canary{'x' * 60}", "acme/c/canary\n", "acme/cänary/f"],
)  # fmt: skip
def test_a_name_of_another_form_is_refused_and_not_shown(place: WritingPlace, name: str) -> None:
    assert "tenant/connection/field" in failure(
        lambda: place.writer.write(name, Secret("v")), SecretReferenceError
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [("", "it is empty"), ("canary\ud800", "give it as base64"), ("canary" * 20_000, "it has 120")],
)
def test_a_value_that_cannot_be_kept_is_refused_and_not_shown(
    place: WritingPlace, value: str, words: str
) -> None:
    ref = place.writer.write(NAME, Secret("before"))
    said = failure(lambda: place.writer.write(NAME, Secret(value)), SecretUnavailable)
    assert words in said
    assert NAME in said
    assert fetch(place, ref) == Secret("before")


def test_many_write_at_once_and_each_is_told_the_truth(place: WritingPlace) -> None:
    writers = [place.writer, place.another()]

    def write(n: int) -> str:
        own = writers[n % 2].write(f"acme/c/{n}", Secret(f"own {n}"))
        # Two at a time to one name: both are kept, one after the other.
        writers[n % 2].write(f"acme/shared/{n // 2}", Secret(f"shared {n}"))
        return own

    with ThreadPoolExecutor(4) as pool:
        refs = list(pool.map(write, range(8)))
    assert [fetch(place, ref).reveal() for ref in refs] == [f"own {n}" for n in range(8)]
    for n in range(4):
        ref = place.writer.write(f"acme/shared/{n}", Secret("last"))
        assert fetch(place, ref) == Secret("last")


def test_no_value_gets_into_the_log(place: WritingPlace, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hookline")
    place.writer.delete(place.writer.write(NAME, CANARY))
    assert "canary" not in caplog.text


def test_what_others_put_in_its_place_is_neither_overwritten_nor_taken_away(
    foreign: ForeignPlace,
) -> None:
    ref = foreign.writer.write(NAME, Secret("one"))
    foreign.writer.delete(ref)
    foreign.put_by_others(ref, "theirs")
    said = failure(lambda: foreign.writer.write(NAME, CANARY), SecretUnavailable)
    assert "was not written by Hookline" in said
    assert "choose another prefix" in said
    failure(lambda: foreign.writer.delete(ref), SecretReferenceError)
    assert fetch(foreign, ref) == Secret("theirs")


def test_without_the_right_to_it_says_which_is_missing(foreign: ForeignPlace) -> None:
    ref = foreign.writer.write(NAME, Secret("one"))
    refused = foreign.refused()
    for do in (
        lambda: refused.write(NAME, CANARY),
        lambda: refused.delete(ref),
    ):
        said = failure(do, SecretUnavailable)
        assert "denies it" in said
        assert "docs/secrets.md" in said


def test_a_server_that_gives_no_answer_is_away_and_nothing_is_said_to_be_kept(
    foreign: ForeignPlace,
) -> None:
    ref = foreign.writer.write(NAME, Secret("one"))

    def check(away: SecretWriter) -> None:
        failure(lambda: away.write(NAME, CANARY), BackendAway)
        failure(lambda: away.delete(ref), BackendAway)

    check(foreign.away(closed_port()))
    with silent_port() as port:
        check(foreign.away(port))
    assert fetch(foreign, ref) == Secret("one")
