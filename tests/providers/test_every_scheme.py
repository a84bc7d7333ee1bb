"""What holds for every provider: who is believed, who is not, and the reason given."""

import pytest

from producer.providers.provider import Batch, Identity, Refusal, Refused, Unreadable, Verified
from producer.providers.registry import PROVIDERS
from schemas.errors import SecretFormatError
from tests.providers.http_request import NOW_S
from tests.providers.subjects import SUBJECTS, Subject

MALFORMED = {
    "empty": "",
    "a space": " ",
    "no form": "canary",
    "not ASCII": "ünïcödé",
    "a surrogate": "\udcff\udcfe",
    "NUL": "\x00",
    "long": "ab" * 50_000,
    "commas": "," * 1000,
    "other scheme": "Digest abc",
    "half hex": "sha256=" + "zz" * 32,
}
EVERY = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
WITH_HEADER = pytest.mark.parametrize(
    "subject", [s for s in SUBJECTS if s.proof is not None], ids=lambda subject: subject.name
)
TIMESTAMPED = pytest.mark.parametrize(
    "subject", [s for s in SUBJECTS if s.timestamped], ids=lambda subject: subject.name
)


def test_no_provider_is_left_out():
    assert {subject.provider for subject in SUBJECTS} == set(PROVIDERS)


@EVERY
def test_what_the_system_sends_is_verified_and_identified(subject: Subject):
    provider = subject.build()
    request = subject.request(provider)
    assert provider.verify(request, [subject.key(provider)], NOW_S) == Verified("2026-11")
    identity = provider.identify(request)
    found = [part.identity for part in identity.parts] if type(identity) is Batch else [identity]
    assert found
    for one in found:
        assert type(one) is Identity
        assert one.event_type.startswith(f"{subject.provider}.")


@EVERY
def test_another_secret_is_wrong(subject: Subject):
    provider = subject.build()
    request = subject.request(provider, secret=subject.other)
    assert provider.verify(request, [subject.key(provider)], NOW_S) == Refused(
        Refusal.SIGNATURE_WRONG
    )


@EVERY
def test_of_two_secrets_the_right_one_is_named(subject: Subject):
    provider = subject.build()
    keys = [subject.key(provider, subject.other, "old"), subject.key(provider, name="new")]
    request = subject.request(provider)
    assert provider.verify(request, keys, NOW_S) == Verified("new")
    assert provider.verify(request, keys[::-1], NOW_S) == Verified("new")
    assert provider.verify(request, [keys[1], keys[1]], NOW_S) == Verified("new")


@EVERY
def test_without_an_active_secret_nobody_is_believed(subject: Subject):
    provider = subject.build()
    assert provider.verify(subject.request(provider), [], NOW_S) == Refused(
        Refusal.NO_ACTIVE_SECRET
    )


@EVERY
def test_a_body_that_was_changed_is_refused_where_it_is_signed(subject: Subject):
    provider = subject.build()
    sent = subject.request(provider)
    changed = type(sent)(sent.headers, sent.body.replace(b"1", b"2", 1), sent.query)
    assert changed.body != sent.body
    given = provider.verify(changed, [subject.key(provider)], NOW_S)
    signed = subject.name not in ("gitlab-token", "graph", "ce-bearer", "token", "basic", "key")
    assert given == (Refused(Refusal.SIGNATURE_WRONG) if signed else Verified("2026-11"))


@WITH_HEADER
def test_a_missing_proof_is_missing(subject: Subject):
    provider = subject.build()
    request = subject.request(provider, changed={subject.proof: None})
    assert provider.verify(request, [subject.key(provider)], NOW_S) == Refused(
        Refusal.SIGNATURE_MISSING
    )


@WITH_HEADER
def test_a_repeated_proof_is_malformed(subject: Subject):
    provider = subject.build()
    value = subject.request(provider).headers.get(subject.proof)
    request = subject.request(provider, changed={subject.proof: [value, value]})
    assert provider.verify(request, [subject.key(provider)], NOW_S) == Refused(
        Refusal.SIGNATURE_MALFORMED
    )


@WITH_HEADER
@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_proof_is_refused(subject: Subject, text: str):
    provider = subject.build()
    request = subject.request(provider, changed={subject.proof: text})
    given = provider.verify(request, [subject.key(provider)], NOW_S)
    assert type(given) is Refused
    # A token has no form: what is no token is a wrong one. Stripe's header also has the time,
    # and so has Calendly's.
    expected = {Refusal.SIGNATURE_MALFORMED}
    if subject.name in ("gitlab-token", "key"):
        expected = {Refusal.SIGNATURE_WRONG, Refusal.SIGNATURE_MALFORMED}
    elif subject.name in ("stripe", "calendly"):
        expected = {Refusal.TIMESTAMP_MISSING}
    assert given.reason in expected


@TIMESTAMPED
@pytest.mark.parametrize("off_s", [-301, 301, -86_400 * 365, 10**9])
def test_a_time_outside_the_window_is_refused(subject: Subject, off_s: int):
    provider = subject.build()
    request = subject.request(provider, now_s=NOW_S + off_s)
    assert provider.verify(request, [subject.key(provider)], NOW_S) == Refused(
        Refusal.TIMESTAMP_OUTSIDE_WINDOW
    )


@TIMESTAMPED
@pytest.mark.parametrize("off_s", [-299, 0, 299])
def test_a_time_within_the_window_is_believed(subject: Subject, off_s: int):
    provider = subject.build()
    request = subject.request(provider, now_s=NOW_S + off_s)
    assert provider.verify(request, [subject.key(provider)], NOW_S) == Verified("2026-11")


@EVERY
@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"{", b"[]", b"null", b"[" * 100_000, b"7", b'{"a":1e999}', b"{}"]
)
def test_a_body_that_is_none_is_refused_or_unreadable(subject: Subject, body: bytes):
    provider = subject.build()
    request = subject.request(provider, body)
    given = provider.verify(request, [subject.key(provider)], NOW_S)
    if subject.provider == "microsoft_graph":
        assert given in (Refused(Refusal.SIGNATURE_MALFORMED), Refused(Refusal.SIGNATURE_MISSING))
        return
    assert given == Verified("2026-11")
    identity = provider.identify(request)
    if subject.provider in ("github", "shopify", "cloudevents", "hubspot"):
        # Their ids are in headers, and what the body lacks leaves the event alone.
        assert isinstance(identity, Identity | Unreadable) or identity == Batch(())
        return
    assert isinstance(identity, Unreadable) or identity == Batch(())


@EVERY
@pytest.mark.parametrize("secret", ["", "\udcff"])
def test_a_secret_that_is_none_is_told_without_its_value(subject: Subject, secret: str):
    provider = subject.build()
    with pytest.raises(SecretFormatError) as caught:
        provider.load_key(secret)
    assert secret == "" or secret not in str(caught.value)


@EVERY
def test_no_header_that_proves_is_kept(subject: Subject):
    provider = subject.build()
    secret_ones = {"authorization", subject.proof, "cookie", "x-gitlab-token", "x-api-key"}
    assert not secret_ones & set(provider.kept_headers)
    assert all(name == name.lower() for name in provider.kept_headers)
