"""A secret's value never leaves it by accident."""

import copy
import json
import logging
import pickle
import traceback

import msgspec
import pytest

from credentials.key_ring import Key, KeyRing
from credentials.secret import MASK, Secret
from schemas.connection import SecretReference
from schemas.errors import SecretFormatError, SecretUnavailable

VALUE = "canary-7f1c-value"


@pytest.mark.parametrize(
    "show",
    [repr, str, "{}".format, "{!r:>40}".format, "{:>40}".format, "%s".__mod__, "%r".__mod__],
)
def test_no_way_of_writing_a_secret_shows_its_value(show):
    assert MASK in show(Secret(VALUE))
    assert VALUE not in show(Secret(VALUE))


@pytest.mark.parametrize(
    "serialise",
    [
        json.dumps,
        msgspec.json.encode,
        msgspec.msgpack.encode,
        pickle.dumps,
        lambda secret: pickle.dumps(secret, protocol=0),
        hash,
        vars,
    ],
)
def test_a_secret_refuses_to_be_serialised(serialise):
    with pytest.raises(TypeError) as caught:
        serialise(Secret(VALUE))
    assert VALUE not in str(caught.value)


def test_reveal_gives_the_value_back():
    assert Secret(VALUE).reveal() == VALUE


def test_secrets_are_equal_by_value_and_never_equal_to_a_plain_text():
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret(VALUE + "x")
    assert Secret(VALUE) != VALUE
    assert Secret("\udc80é") == Secret("\udc80é")


def test_a_secret_does_not_change():
    secret = Secret(VALUE)
    with pytest.raises(AttributeError):
        secret._value = "other"
    with pytest.raises(AttributeError):
        del secret._value
    assert copy.deepcopy({"k": secret})["k"] is secret
    assert copy.copy(secret) is secret


def test_a_key_ring_hands_the_value_to_the_provider_and_shows_it_nowhere():
    prepared = []

    def prepare(text):
        prepared.append(text)
        return text.encode()

    ring = KeyRing.load(
        (SecretReference(name="2026-11", ref="env:A"),), lambda _: Secret(VALUE), prepare
    )
    assert prepared == [VALUE]
    assert ring.active(0.0) == (Key(name="2026-11", material=VALUE.encode()),)
    assert VALUE not in repr(ring.active(0.0))
    with pytest.raises(TypeError):
        pickle.dumps(ring.active(0.0))


def test_a_key_ring_picks_the_keys_whose_time_it_is():
    ring = KeyRing.load(
        (
            SecretReference(name="old", ref="env:A", not_after_s=200.0),
            SecretReference(name="new", ref="env:B", not_before_s=100.0),
        ),
        Secret,
        str,
    )
    assert [key.name for key in ring.active(99.9)] == ["old"]
    assert [key.name for key in ring.active(100.0)] == ["old", "new"]
    assert [key.name for key in ring.active(200.0)] == ["new"]


def test_a_key_that_cannot_be_loaded_is_named_and_its_value_is_not():
    reference = SecretReference(name="2026-11", ref="env:A")

    def refuse(text):
        raise SecretFormatError("a GitHub secret is at least 16 characters; make a new one")

    def missing(ref):
        raise SecretUnavailable("env:A cannot be read")

    with pytest.raises(SecretFormatError, match=r"2026-11.*at least 16") as caught:
        KeyRing.load((reference,), lambda _: Secret(VALUE), refuse)
    assert VALUE not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(SecretUnavailable, match="2026-11"):
        KeyRing.load((reference,), missing, str)


def test_a_secret_given_to_a_logger_as_an_argument_stays_masked(caplog):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("hookline.test").debug("value %s and %r", Secret(VALUE), [Secret(VALUE)])
    assert VALUE not in caplog.text
