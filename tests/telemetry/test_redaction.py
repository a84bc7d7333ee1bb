"""Registered values and the shapes of secrets go out of a text; the rest stays."""

import base64
import hashlib
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from credentials.secret import MASK, Secret
from hookline.processes.process import resolver_for
from hookline.processes.stores import with_password
from hookline.settings.credentials import CredentialSettings
from hookline.settings.model import ConsumerSettings
from hookline.telemetry.redaction import MIN_SECRET_CHARS, Redactor
from hookline.telemetry.span_export import RedactingSpanExporter

CANARY = 'cänary "7f1c"/+\\é value'


def escaped(value: str) -> dict[str, str]:
    return {
        "plain": value,
        "repr": repr({"k": value}),
        "repr of bytes": repr(value.encode()),
        "json": json.dumps({"k": value}),
        "json, not ascii": json.dumps({"k": value}, ensure_ascii=False),
        "url": f"http://h/?s={quote(value, safe='')}&b",
        "base64": base64.b64encode(value.encode()).decode(),
        "hex": value.encode().hex(),
    }


@pytest.mark.parametrize("way", escaped(""))
def test_a_registered_value_is_found_however_it_is_escaped(way):
    redactor = Redactor()
    redactor.register(Secret(CANARY))
    text = redactor.redact(f"before {escaped(CANARY)[way]} after")
    assert MASK in text
    assert "7f1c" not in text
    assert CANARY.encode().hex()[8:20] not in text
    assert base64.b64encode(CANARY.encode()).decode()[4:12] not in text
    assert text.startswith("before ")
    assert text.endswith(" after")


@given(
    secrets=st.lists(st.text(min_size=MIN_SECRET_CHARS, max_size=12), min_size=1, max_size=20),
    around=st.text(max_size=30),
    data=st.data(),
)
def test_any_registered_value_anywhere_is_taken_out(secrets, around, data):
    redactor = Redactor()
    for value in secrets:
        redactor.register(Secret(value))
    value = data.draw(st.sampled_from(secrets))
    assert value not in redactor.redact(f"{around}{value}{around}").replace(MASK, "\0")


def test_the_longest_of_overlapping_values_is_masked():
    redactor = Redactor()
    redactor.register(Secret("canary"))
    redactor.register(Secret("canary-long"))
    assert redactor.redact("a canary-long b canary") == f"a {MASK} b {MASK}"


def test_each_line_of_a_key_of_several_lines_is_masked():
    redactor = Redactor()
    body = "MHcCAQEEIBkgcanarycanarycanary"
    redactor.register(Secret(f"-----BEGIN EC KEY-----\n{body}\n-----END EC KEY-----\n"))
    assert redactor.redact(f"line: {body}!") == f"line: {MASK}!"
    assert redactor.redact("-----BEGIN EC KEY-----") == "-----BEGIN EC KEY-----"


@pytest.mark.timeout(20)
def test_thousands_of_secrets_that_begin_alike_cost_no_more_each_than_one():
    """As those of Standard Webhooks do, and each look at the key rings registers them."""
    redactor = Redactor()
    secrets = [
        f"whsec_{hashlib.blake2b(bytes(4) + n.to_bytes(4)).hexdigest()}" for n in range(20_000)
    ]
    for _ in range(3):
        for value in secrets:
            redactor.register(Secret(value))
    text = "whsec d2hz 7768 " * 2_000 + secrets[-1]
    assert secrets[-1][6:] not in redactor.redact(text)


def test_a_value_too_short_to_look_for_does_not_garble_the_log():
    redactor = Redactor()
    redactor.register(Secret("abc"))
    redactor.register(Secret(""))
    assert redactor.redact("abc") == "abc"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("key whsec_MfKQ9r8GKYqrTwjU+/PD8= end", "key whsec_********** end"),
        ("sig sha256=" + "0a" * 32 + " end", "sig sha256=********** end"),
        ("sig SHA256=" + "0A" * 32, "sig SHA256=**********"),
        ("webhook v1," + "Ab+/" * 10 + "abc= end", "webhook v1,********** end"),
        ("t=1492774577,v1=" + "5257a869" * 8, "t=1492774577,v1=**********"),
        ("Authorization: Bearer abc.def-ghi end", "Authorization: Bearer ********** end"),
        ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic **********"),
        ('{"Authorization": "abc"}', '{"Authorization": "**********"}'),
        ("used bearer 0123456789abcdef0123", "used bearer **********"),
        ("to amqp://me:pa55@host:1/v and", "to amqp://**********@host:1/v and"),
        ("postgresql://u:p%40@h/d", "postgresql://**********@h/d"),
        ("sasl.password=pa55word;x", "sasl.password=**********;x"),
        ('{"password":"pa55word","a":1}', '{"password":"**********","a":1}'),
        ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "sk_live_**********"),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_**********"),
        ("hl_production_0123456789abcdefABCDEF", "hl_production_**********"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n",
            "-----BEGIN RSA PRIVATE KEY-----**********",
        ),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_-d", "**********"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text, left):
    assert Redactor().redact(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Webhook refused",
        "request 0192f0c1a2b3c4d5e6f708192a3b4c5d took 12 ms",
        "00-0192f0c1a2b3c4d5e6f708192a3b4c5d-00f067aa0ba902b7-01",
        "GET http://localhost:8080/webhooks/acme?x=a@b",
        "the bearer of this is unknown",
        "secret '2026-11': env:ACME_GITHUB_SECRET is not set",
        "basic authentication",
        "v1 of the schema, v1=2",
    ],
)
def test_ordinary_text_stays_and_is_not_copied(text):
    assert Redactor().redact(text) is text


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "unit", ["a", "a.", "authorization", "://", "a://", "password", "sha256=", "eyJ.", "v1=", "x@"]
)
def test_no_long_text_makes_redaction_slow(unit):
    redactor = Redactor()
    redactor.register(Secret("aaaaaaaaaaaaaaaaaaaab"))
    text = unit * (200_000 // len(unit)) + "authorization bearer password ://"
    # Linear is well below a second; anything worse runs into the time limit.
    assert redactor.redact(text)


def test_a_stores_password_is_known_as_it_is_and_as_its_url_has_it() -> None:
    redactor = Redactor()
    settings = ConsumerSettings(
        store="postgresql://u@h:5432/d", store_password="env:STORE_PASSWORD"
    )
    resolver = resolver_for({"STORE_PASSWORD": "p@ss/w0rd ü"}, redactor, CredentialSettings())
    url = with_password(settings.store, settings.store_password, resolver)
    for text in (f"cannot reach {url}", url.removeprefix("postgresql://"), "it was p@ss/w0rd ü"):
        assert "w0rd" not in redactor.redact(text)


def test_a_span_s_text_that_passed_before_is_looked_at_again_when_a_secret_is_new():
    class Exporter(SpanExporter):
        def export(self, spans):
            self.names = [span.name for span in spans]
            return SpanExportResult.SUCCESS

    redactor, exporter = Redactor(), Exporter()
    redacting = RedactingSpanExporter(exporter, redactor)
    span = ReadableSpan("get canary-0123456789")
    redacting.export([span])
    assert exporter.names == ["get canary-0123456789"]
    redactor.register(Secret("canary-0123456789"))
    redacting.export([span])
    assert exporter.names == [f"get {MASK}"]
