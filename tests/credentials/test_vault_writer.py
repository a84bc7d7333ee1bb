"""What a writer to Vault does when somebody else writes between its look and its write."""

from __future__ import annotations

import pytest

from credentials.reference import parse_reference
from credentials.secret import Secret
from schemas.errors import SecretUnavailable
from tests.credentials.vault_standin import VaultStandIn
from tests.credentials.writing_places import VaultWriting

NAME = "acme/acme-github/token"


@pytest.fixture
def place(vault_standin: VaultStandIn) -> VaultWriting:
    return VaultWriting(vault_standin)


def test_another_process_of_ours_comes_first_and_then_this_one(
    place: VaultWriting, vault_standin: VaultStandIn
) -> None:
    other = place.another()
    for before in range(2):
        vault_standin.meanwhile = [lambda n=before: other.write(NAME, Secret(f"theirs {n}"))]
        ref = place.writer.write(NAME, Secret("ours"))
        assert place.reader.fetch(parse_reference(ref)) == Secret("ours")
        assert place.left(ref)[1]["current_version"] == 2 * (before + 1)


def test_what_others_put_there_meanwhile_is_not_written_over(
    place: VaultWriting, vault_standin: VaultStandIn
) -> None:
    ref = place.writer.write(NAME, Secret("one"))
    path = ref.removeprefix("vault:secret/").removesuffix("#value")

    def taken() -> None:
        del vault_standin.metadata[path]
        vault_standin.write(path, {"value": "theirs"})
        vault_standin.write(path, {"value": "theirs"})

    vault_standin.meanwhile = [taken]
    with pytest.raises(SecretUnavailable, match="was not written by Hookline"):
        place.writer.write(NAME, Secret("two"))
    assert place.reader.fetch(parse_reference(ref)) == Secret("theirs")


def test_who_never_comes_to_write_says_so(place: VaultWriting, vault_standin: VaultStandIn) -> None:
    ref = place.writer.write(NAME, Secret("one"))
    path = ref.removeprefix("vault:secret/").removesuffix("#value")
    vault_standin.meanwhile = [
        lambda: vault_standin.write(path, {"value": "theirs"}) for _ in range(20)
    ]
    with pytest.raises(SecretUnavailable, match="somebody else keeps writing"):
        place.writer.write(NAME, Secret("two"))
    assert len(vault_standin.meanwhile) == 15


def test_one_version_is_kept_and_the_mark_is_there_before_the_value(
    place: VaultWriting, vault_standin: VaultStandIn
) -> None:
    marked: list[object] = []
    vault_standin.meanwhile = [lambda: marked.extend(vault_standin.metadata.values())]
    ref = place.writer.write(NAME, Secret("one"))
    metadata = place.left(ref)[1]
    assert metadata in marked
    assert metadata["custom_metadata"] == {"managed-by": "hookline"}
    assert metadata["max_versions"] == 1
