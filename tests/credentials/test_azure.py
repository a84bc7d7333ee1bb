"""Key Vault's answers, by the real client and DefaultAzureCredential, against the stand-in."""

from __future__ import annotations

import pytest

from credentials.azure_clients import AzureClients
from credentials.azure_key_vault import AzureKeyVaultBackend
from credentials.reference import parse_reference
from credentials.secret import Secret
from schemas.errors import BackendAway, SecretUnavailable
from tests.credentials.azure_standin import AzureStandIn
from tests.credentials.places import AzurePlace, place_named


@pytest.fixture
def place(request: pytest.FixtureRequest) -> AzurePlace:
    found = place_named("azure", request)
    assert isinstance(found, AzurePlace)
    return found


def test_one_token_serves_many_secrets(place: AzurePlace, azure_standin: AzureStandIn) -> None:
    before = azure_standin.identity_calls
    for name in ("A", "B", "A"):
        place.backend.fetch(parse_reference(place.put(name, b"one")))
    assert azure_standin.identity_calls == before + 1


@pytest.mark.parametrize(
    ("code", "is_away", "words"),
    [
        ("SecretDisabled", False, "enable it"),
        ("ForbiddenByPolicy", False, "Key Vault Secrets User"),
        ("ForbiddenByRbac", False, "Key Vault Secrets User"),
        ("ForbiddenByFirewall", True, "ForbiddenByFirewall"),
        ("ForbiddenByConnection", True, "ForbiddenByConnection"),
    ],
)
def test_each_way_of_being_forbidden_is_told_apart(
    place: AzurePlace, azure_standin: AzureStandIn, code: str, is_away: bool, words: str
) -> None:
    ref = place.put("A", b"canary")
    azure_standin.denied[ref.partition("/")[2]] = code
    with pytest.raises(SecretUnavailable, match=words) as caught:
        place.backend.fetch(parse_reference(ref))
    assert isinstance(caught.value, BackendAway) is is_away


def test_a_vault_of_another_domain_is_never_shown_a_token(
    place: AzurePlace, azure_standin: AzureStandIn
) -> None:
    ref = parse_reference(place.put("A", b"one"))
    before = azure_standin.identity_calls
    suffix = f"other.test:{azure_standin.port}"
    with pytest.raises(BackendAway, match=r"does not answer \(ValueError\)"):
        AzureKeyVaultBackend(AzureClients(suffix=suffix)).fetch(ref)
    assert azure_standin.identity_calls == before


def test_a_new_value_is_read_without_a_new_client(place: AzurePlace) -> None:
    ref = parse_reference(place.put("A", b"one"))
    assert place.backend.fetch(ref) == Secret("one")
    assert isinstance(place.backend, AzureKeyVaultBackend)
    before = dict(place.backend._clients._clients)
    place.put("A", b"two")
    assert place.backend.fetch(ref) == Secret("two")
    assert place.backend._clients._clients == before
