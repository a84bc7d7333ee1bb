"""The contract of a secret backend. A new backend joins as a place in places.py."""

import traceback

import pytest

from credentials.environment import EnvironmentBackend
from credentials.reference import parse_reference
from credentials.resolver import Resolver
from credentials.secret import Secret
from schemas.errors import SecretReferenceError, SecretUnavailable
from tests.credentials.places import LOCAL, REMOTE, Place, place_named


@pytest.fixture(params=[*LOCAL, *REMOTE])
def place(request: pytest.FixtureRequest) -> Place:
    return place_named(request.param, request)


def fetch(place: Place, ref: str) -> Secret:
    return place.backend.fetch(parse_reference(ref))


@pytest.mark.parametrize("value", ["whsec_abc+/=", "pass word", "grüß gott", "a", '{"a": 1}'])
def test_a_value_comes_back_as_it_was_put(place, value):
    assert fetch(place, place.put("A", value.encode())).reveal() == value


def test_a_large_value_comes_back_whole(place):
    value = "x" * place.largest
    assert fetch(place, place.put("A", value.encode())).reveal() == value


def test_a_changed_value_is_seen_at_the_next_fetch(place):
    ref = place.put("A", b"first")
    fetch(place, ref)
    place.put("A", b"second")
    assert fetch(place, ref) == Secret("second")


def test_an_absent_secret_is_unavailable_and_named(place):
    with pytest.raises(SecretUnavailable, match=r"(?i)not.there"):
        fetch(place, place.absent)


def test_an_empty_secret_is_unavailable(place):
    with pytest.raises(SecretUnavailable, match="empty"):
        fetch(place, place.put("A", b""))


def test_a_value_that_is_not_text_is_unavailable_and_not_shown(place):
    if not place.holds_binary:
        pytest.skip("there is nothing but text there")
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


@pytest.mark.parametrize("ref", ["vault:secret/a#k", "aws-sm:a#k", "azure-kv:v/n", "sealed:t/c/f"])
def test_a_scheme_that_is_not_set_up_says_which_setting_it_needs(ref):
    with pytest.raises(SecretUnavailable, match=r"known scheme.*write credentials\.\w+ in .*env:"):
        Resolver([EnvironmentBackend({})]).resolve(ref)


def test_the_resolver_refuses_a_literal(place):
    with pytest.raises(SecretReferenceError) as caught:
        Resolver([place.backend]).resolve("whsec_canary")
    assert "canary" not in str(caught.value)
