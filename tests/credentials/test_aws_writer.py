"""What Secrets Manager's way of deleting asks of a writer."""

from __future__ import annotations

import pytest

from credentials.aws_clients import AwsClients
from credentials.aws_writer import AwsSecretsManagerWriter
from credentials.reference import parse_reference
from credentials.secret import Secret
from schemas.errors import BackendAway
from tests.credentials.aws_refusals import AwsRefusals
from tests.credentials.writing_places import AwsWriting, writing_place_named
from tests.parts.moto import REGION, MotoServer

NAME = "acme/acme-github/token"


@pytest.fixture
def place(request: pytest.FixtureRequest) -> AwsWriting:
    found = writing_place_named("aws", request)
    assert isinstance(found, AwsWriting)
    return found


def test_what_was_deleted_by_hand_can_be_written_again(place: AwsWriting, moto: MotoServer) -> None:
    ref = place.writer.write(NAME, Secret("one"))
    moto.admin.delete_secret(SecretId=ref.partition(":")[2], RecoveryWindowInDays=7)
    assert place.writer.write(NAME, Secret("two")) == ref
    assert place.reader.fetch(parse_reference(ref)) == Secret("two")


def test_what_was_deleted_by_hand_goes_without_its_waiting_time(
    place: AwsWriting, moto: MotoServer
) -> None:
    ref = place.writer.write(NAME, Secret("one"))
    moto.admin.delete_secret(SecretId=ref.partition(":")[2], RecoveryWindowInDays=7)
    assert place.left(ref)
    place.writer.delete(ref)
    assert not place.left(ref)


@pytest.mark.parametrize(
    ("code", "words", "tries"),
    [
        ("InvalidRequestException", "try again in a minute", 5),
        ("ThrottlingException", "cannot answer now", 1),
        ("ExpiredTokenException", "check the credentials", 1),
    ],
)
def test_what_may_help_later_is_said_to_be_away(
    aws_refusals: AwsRefusals,
    moto: MotoServer,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    words: str,
    tries: int,
) -> None:
    for name, value in moto.writer.items():
        monkeypatch.setenv(name, value)
    aws_refusals.code = code
    waits: list[float] = []
    clients = AwsClients(region=REGION, endpoint_url=aws_refusals.url)
    writer = AwsSecretsManagerWriter(clients, "hookline/connect", sleep=waits.append)
    # Nothing is known of the secret: that it is not there is what Describe would say.
    monkeypatch.setattr(writer, "_described", lambda reference: None)
    with pytest.raises(BackendAway, match=words):
        writer.write(NAME, Secret("one"))
    assert len(waits) == tries - 1
