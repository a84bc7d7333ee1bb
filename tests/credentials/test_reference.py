"""References parse into their parts, and a literal is refused without being shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credentials.reference import MAX_REFERENCE_CHARS, SCHEMES, Reference, parse_reference
from schemas.errors import SecretReferenceError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("env:ACME_GITHUB_SECRET", ("env", "ACME_GITHUB_SECRET", "")),
        ("env:_A1", ("env", "_A1", "")),
        ("file:/run/secrets/acme github", ("file", "/run/secrets/acme github", "")),
        ("file:/run/a#b", ("file", "/run/a#b", "")),
        ("vault:secret/acme/github#signing-key", ("vault", "secret/acme/github", "signing-key")),
        ("aws-sm:acme/github", ("aws-sm", "acme/github", "")),
        ("aws-sm:acme/github#key", ("aws-sm", "acme/github", "key")),
        (
            "aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-AbCdEf#key",
            ("aws-sm", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-AbCdEf", "key"),
        ),
        ("aws-sm:a@b?stage=AWSPREVIOUS", ("aws-sm", "a@b", "", "AWSPREVIOUS")),
        ("aws-sm:a?stage=AWSPREVIOUS#key", ("aws-sm", "a", "key", "AWSPREVIOUS")),
        ("vault:secret/..a/b..#k", ("vault", "secret/..a/b..", "k")),
        ("azure-kv:acme-vault/github-key", ("azure-kv", "acme-vault/github-key", "")),
        ("sealed:acme/acme-github/token", ("sealed", "acme/acme-github/token", "")),
        ("sealed:a.b/..c/d/_/1", ("sealed", "a.b/..c/d/_/1", "")),
    ],
)
def test_a_reference_parses_into_its_parts_and_writes_itself_again(text, parts):
    reference = parse_reference(text)
    assert reference == Reference(*parts)
    assert str(reference) == text


@pytest.mark.parametrize(
    "literal",
    [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "hunter2hunter2",
        "abc:def:ghi",
        "https://user:pa55word@host/path",
        "env:ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "env:pa55 word",
        "env:",
        "file:relative/pa55word",
        "file://host/pa55word",
        "file:/directory/pa55word/",
        "file:/pa55word\0",
        "vault:pa55word",
        "vault:secret/pa55word",
        "vault:secret/../sys/pa55word#k",
        "vault:secret/pa55word/..#k",
        "vault:./pa55word#k",
        "azure-kv:pa55word",
        "azure-kv:pa55word.evil.example/x",
        "aws-sm:a?stage=#pa55word",
        "sealed:pa55word",
        "sealed:acme/pa55word",
        "sealed:acme/Pa55word/x",
        "sealed:../pa55word/x",
        "sealed:acme/pa55word/..",
        "sealed:acme/./pa55word/x",
        "sealed:acme//pa55word",
        "sealed:acme/pa55word/x#k",
        "aws-sm:a#pa55word?stage=AWSPREVIOUS",
        "aws-sm:pa55 word",
        "",
        ":",
        "env:A\n",
    ],
)
def test_what_is_no_reference_is_refused_without_being_shown(literal):
    with pytest.raises(SecretReferenceError) as caught:
        parse_reference(literal)
    message = str(caught.value)
    for word in ("whsec_", "hunter2", "ghp_", "pa55", "abc", "ghi", "relative"):
        assert word not in message
    assert "env:" in message or literal.split(":")[0] in SCHEMES


def test_a_literal_s_error_says_what_to_write_instead():
    with pytest.raises(SecretReferenceError, match=r"write env:NAME.*write file:/path"):
        parse_reference("hunter2hunter2")


def test_a_misspelt_scheme_is_named_as_it_must_be():
    with pytest.raises(SecretReferenceError, match="write env: with no capitals"):
        parse_reference("ENV:ACME")
    with pytest.raises(SecretReferenceError, match="write file: with no capitals"):
        parse_reference(" file:/run/x")


def test_an_endless_reference_is_refused():
    with pytest.raises(SecretReferenceError, match=str(MAX_REFERENCE_CHARS)):
        parse_reference("env:" + "A" * 1_000_000)


@given(
    st.text(max_size=60)
    | st.sampled_from(SCHEMES).flatmap(
        lambda scheme: st.text(max_size=60).map(lambda rest: f"{scheme}:{rest}")
    )
)
def test_any_text_is_a_reference_or_a_reference_error(text):
    try:
        reference = parse_reference(text)
    except SecretReferenceError:
        return
    assert str(reference) == text
