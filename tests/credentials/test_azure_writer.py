"""What Key Vault's soft-delete asks of a writer: names that are not free, vaults without purge."""

from __future__ import annotations

import pytest

from credentials.reference import parse_reference
from credentials.secret import Secret
from schemas.errors import SecretUnavailable
from tests.credentials.azure_standin import AzureStandIn
from tests.credentials.writing_places import AzureWriting, writing_place_named

NAME = "acme/acme-github/token"


@pytest.fixture
def place(request: pytest.FixtureRequest) -> AzureWriting:
    found = writing_place_named("azure", request)
    assert isinstance(found, AzureWriting)
    return found


def test_where_purging_is_forbidden_it_stays_deleted_and_its_name_comes_back(
    place: AzureWriting, azure_standin: AzureStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure_standin, "recovery_level", "CustomizedRecoverable")
    ref = place.writer.write(NAME, Secret("one"))
    place.writer.delete(ref)
    place.writer.delete(ref)
    assert ref.partition("/")[2] in azure_standin.deleted
    with pytest.raises(SecretUnavailable, match="no such secret"):
        place.reader.fetch(parse_reference(ref))
    assert place.writer.write(NAME, Secret("two")) == ref
    assert place.reader.fetch(parse_reference(ref)) == Secret("two")


def test_what_was_deleted_by_hand_is_purged_too(
    place: AzureWriting, azure_standin: AzureStandIn
) -> None:
    ref = place.writer.write(NAME, Secret("one"))
    name = ref.partition("/")[2]
    azure_standin.deleted[name] = azure_standin.secrets.pop(name), azure_standin.tags.pop(name)
    place.writer.delete(ref)
    assert not place.left(ref)


def test_a_deleted_secret_of_others_is_not_brought_back(
    place: AzureWriting, azure_standin: AzureStandIn
) -> None:
    ref = place.writer.write(NAME, Secret("one"))
    place.writer.delete(ref)
    name = ref.partition("/")[2]
    azure_standin.deleted[name] = "theirs", {"managed-by": "somebody"}
    with pytest.raises(SecretUnavailable, match="was not written by Hookline"):
        place.writer.write(NAME, Secret("two"))
    assert azure_standin.deleted[name] == ("theirs", {"managed-by": "somebody"})


def test_a_name_can_be_told_by_people_and_by_its_tag(
    place: AzureWriting, azure_standin: AzureStandIn
) -> None:
    name = place.writer.write(NAME, Secret("one")).partition("/")[2]
    assert "-acme-acme-github-token-" in name
    assert azure_standin.tags[name] == {"managed-by": "hookline", "hookline-name": NAME}
    assert len(name) <= 127
