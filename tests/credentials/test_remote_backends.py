"""What every remote backend tells apart: a refusal, which is about the secret, and being away."""

from __future__ import annotations

import subprocess
import sys
import traceback

import pytest

from credentials.reference import parse_reference
from credentials.resolver import SecretBackend
from credentials.secret import Secret
from schemas.errors import BackendAway, SecretUnavailable
from tests.credentials.places import REMOTE, RemotePlace, closed_port, place_named, silent_port


@pytest.fixture(params=REMOTE)
def place(request: pytest.FixtureRequest) -> RemotePlace:
    found = place_named(request.param, request)
    assert isinstance(found, RemotePlace)
    return found


def failure(backend: SecretBackend, ref: str) -> SecretUnavailable:
    with pytest.raises(SecretUnavailable) as caught:
        backend.fetch(parse_reference(ref))
    error: BaseException | None = caught.value
    assert ref in str(error)
    while error is not None:
        shown = repr(error) + "".join(traceback.format_exception(error))
        assert "canary" not in shown
        error = error.__context__
    return caught.value


def test_a_deleted_secret_is_refused(place: RemotePlace) -> None:
    ref = place.put("A", b"canary")
    place.backend.fetch(parse_reference(ref))
    place.remove("A")
    assert type(failure(place.backend, ref)) is SecretUnavailable


def test_a_secret_that_we_may_not_read_is_refused_and_says_what_right_is_missing(
    place: RemotePlace,
) -> None:
    ref = place.put("A", b"canary")
    place.backend.fetch(parse_reference(ref))
    place.deny("A")
    error = failure(place.backend, ref)
    assert type(error) is SecretUnavailable
    assert "denies it" in str(error)
    assert "docs/secrets.md" in str(error)


def test_an_absent_secret_is_refused(place: RemotePlace) -> None:
    assert type(failure(place.backend, place.absent)) is SecretUnavailable


def test_a_log_in_that_is_refused_says_nothing_of_the_secret(place: RemotePlace) -> None:
    ref = place.put("A", b"canary")
    place.backend.fetch(parse_reference(ref))
    place.refuse_us()
    assert type(failure(place.backend, ref)) is BackendAway


def test_a_server_that_is_down_is_away(place: RemotePlace) -> None:
    ref = place.put("A", b"canary")
    assert type(failure(place.elsewhere(closed_port()), ref)) is BackendAway


def test_a_server_that_never_answers_is_away_in_time(place: RemotePlace) -> None:
    ref = place.put("A", b"canary")
    with silent_port() as port:
        assert type(failure(place.elsewhere(port), ref)) is BackendAway


def test_a_backend_is_used_by_many_threads_at_once(place: RemotePlace) -> None:
    from concurrent.futures import ThreadPoolExecutor

    refs = [parse_reference(place.put(f"A{n}", f"v{n}".encode())) for n in range(4)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(place.backend.fetch, refs * 8))
    assert found == [Secret(f"v{n}") for n in range(4)] * 8


@pytest.mark.parametrize(
    ("module", "blocked", "made", "ref", "extra"),
    [
        (
            "vault",
            "hvac",
            "VaultBackend(VaultSession(address='https://v', login=None))",
            "vault:secret/a#k",
            "vault",
        ),
        (
            "aws_secrets_manager",
            "botocore",
            "AwsSecretsManagerBackend(AwsClients())",
            "aws-sm:a",
            "aws",
        ),
        (
            "azure_key_vault",
            "azure",
            "AzureKeyVaultBackend(AzureClients())",
            "azure-kv:v/n",
            "azure",
        ),
    ],
)
def test_without_its_extra_a_backend_says_what_to_install(
    module: str, blocked: str, made: str, ref: str, extra: str
) -> None:
    # In a process of its own: the clients are loaded here already.
    program = f"""
import sys
from credentials.{module} import *
from credentials.reference import parse_reference
from schemas.errors import SecretUnavailable
assert not any(name == {blocked!r} or name.startswith({blocked!r} + '.') for name in sys.modules)
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == {blocked!r} or name.startswith({blocked!r} + '.'):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name={blocked!r})
sys.meta_path.insert(0, Missing())
try:
    {made}.fetch(parse_reference({ref!r}))
except SecretUnavailable as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"pip install 'hookline[{extra}]'" in done.stdout, done.stderr
    assert ref in done.stdout
