"""Secrets Manager's staging labels, JSON values and refusals, against moto and AWS's own words."""

from __future__ import annotations

import io
import json
import logging
import uuid

import pytest

from credentials.aws_clients import AwsClients, region_of
from credentials.aws_secrets_manager import AwsSecretsManagerBackend
from credentials.reference import parse_reference
from credentials.secret import Secret
from hookline.telemetry.logs import configure_logs
from hookline.telemetry.redaction import Redactor
from schemas.errors import BackendAway, SecretUnavailable
from tests.credentials.aws_refusals import AwsRefusals
from tests.parts.moto import REGION, MotoServer


@pytest.fixture
def name(moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> str:
    for key, value in moto.reader.items():
        monkeypatch.setenv(key, value)
    return f"acme/{uuid.uuid4().hex}"


@pytest.fixture
def backend(moto: MotoServer) -> AwsSecretsManagerBackend:
    return AwsSecretsManagerBackend(AwsClients(region=REGION, endpoint_url=moto.url))


def fetch(backend: AwsSecretsManagerBackend, ref: str) -> Secret:
    return backend.fetch(parse_reference(ref))


def test_the_stage_chooses_the_version_through_rotations(
    backend: AwsSecretsManagerBackend, moto: MotoServer, name: str
) -> None:
    moto.admin.create_secret(Name=name, SecretString="one")
    assert fetch(backend, f"aws-sm:{name}") == Secret("one")
    with pytest.raises(SecretUnavailable, match="no version AWSPREVIOUS") as caught:
        fetch(backend, f"aws-sm:{name}?stage=AWSPREVIOUS")
    assert not isinstance(caught.value, BackendAway)
    for old, new in (("one", "two"), ("two", "three")):
        moto.admin.put_secret_value(SecretId=name, SecretString=new)
        assert fetch(backend, f"aws-sm:{name}") == Secret(new)
        assert fetch(backend, f"aws-sm:{name}?stage=AWSCURRENT") == Secret(new)
        assert fetch(backend, f"aws-sm:{name}?stage=AWSPREVIOUS") == Secret(old)


def test_a_key_of_a_json_object_is_read_at_its_stage(
    backend: AwsSecretsManagerBackend, moto: MotoServer, name: str
) -> None:
    moto.admin.create_secret(Name=name, SecretString=json.dumps({"signing.key": "one", "n": 1}))
    moto.admin.put_secret_value(SecretId=name, SecretString=json.dumps({"signing.key": "two"}))
    assert fetch(backend, f"aws-sm:{name}#signing.key") == Secret("two")
    assert fetch(backend, f"aws-sm:{name}?stage=AWSPREVIOUS#signing.key") == Secret("one")
    with pytest.raises(SecretUnavailable, match="has no key other"):
        fetch(backend, f"aws-sm:{name}#other")
    with pytest.raises(SecretUnavailable, match="not UTF-8 text"):
        fetch(backend, f"aws-sm:{name}?stage=AWSPREVIOUS#n")


@pytest.mark.parametrize(
    "value", ["canary", '["canary"]', "[" * 20_000, '{"key": "\\ud800canary"}']
)
def test_a_value_that_is_no_object_of_text_has_no_key_and_is_not_shown(
    backend: AwsSecretsManagerBackend, moto: MotoServer, name: str, value: str
) -> None:
    moto.admin.create_secret(Name=name, SecretString=value)
    with pytest.raises(SecretUnavailable) as caught:
        fetch(backend, f"aws-sm:{name}#key")
    error: BaseException | None = caught.value
    while error is not None:
        assert "canary" not in repr(error)
        assert not hasattr(error, "doc")
        error = error.__context__


def test_an_arn_names_its_region_itself(moto: MotoServer, name: str) -> None:
    arn = moto.admin.create_secret(Name=name, SecretString="one")["ARN"]
    assert region_of(parse_reference(f"aws-sm:{arn}")) == REGION
    elsewhere = AwsSecretsManagerBackend(AwsClients(region="us-west-2", endpoint_url=moto.url))
    assert fetch(elsewhere, f"aws-sm:{arn}") == Secret("one")
    with pytest.raises(SecretUnavailable):
        fetch(elsewhere, f"aws-sm:{name}")


@pytest.mark.parametrize(
    ("code", "is_away", "words"),
    [
        ("AccessDeniedException", False, "secretsmanager:GetSecretValue"),
        ("DecryptionFailure", False, "kms:Decrypt"),
        ("InvalidRequestException", False, "marked for deletion"),
        ("InvalidParameterException", False, "no name or stage"),
        ("ExpiredTokenException", True, "ExpiredTokenException"),
        ("UnrecognizedClientException", True, "check the credentials"),
        ("InternalServiceError", True, "cannot answer now"),
        ("ThrottlingException", True, "cannot answer now"),
    ],
)
def test_only_an_answer_about_the_secret_is_a_refusal(
    aws_refusals: AwsRefusals,
    name: str,
    code: str,
    is_away: bool,
    words: str,
) -> None:
    aws_refusals.code = code
    backend = AwsSecretsManagerBackend(AwsClients(region=REGION, endpoint_url=aws_refusals.url))
    with pytest.raises(SecretUnavailable, match=words) as caught:
        fetch(backend, f"aws-sm:{name}")
    assert isinstance(caught.value, BackendAway) is is_away


def test_without_credentials_it_says_so(moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(key, raising=False)
    for key in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(key, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    backend = AwsSecretsManagerBackend(AwsClients(region=REGION, endpoint_url=moto.url))
    with pytest.raises(BackendAway, match="finds no credentials"):
        fetch(backend, "aws-sm:a")
    with pytest.raises(SecretUnavailable, match="no AWS region"):
        fetch(AwsSecretsManagerBackend(AwsClients()), "aws-sm:a")


def test_the_log_at_debug_holds_no_answer_of_the_client_s(
    backend: AwsSecretsManagerBackend, moto: MotoServer, name: str
) -> None:
    # botocore writes whole answers at DEBUG, before any redactor can know the value.
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    moto.admin.create_secret(Name=name, SecretString="canary-value")
    try:
        configure_logs("debug", "json", stream, Redactor())
        assert fetch(backend, f"aws-sm:{name}") == Secret("canary-value")
    finally:
        root.handlers[:], root.level = before
    assert "canary" not in stream.getvalue()
