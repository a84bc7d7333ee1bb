"""Secrets in the sealed file as a process has them: by its settings, and through an outage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from credentials.resolver import Resolver
from credentials.seal_key import new_seal_key, seal_keys
from credentials.sealed import SealedWriter
from credentials.sealed_file import SealedFile
from credentials.secret import Secret
from hookline.command import main
from hookline.commands.secrets import Finding, findings
from hookline.settings.loading import load
from schemas.errors import BackendAway, ConfigurationError, SecretUnavailable

NAME, REF = "acme/acme-github/token", "sealed:acme/acme-github/token"


class Machine:
    """The settings of two processes that share a file, and the key in a file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "var" / "sealed"
        self.key_file = folder / "key"
        self.config = folder / "hookline.yaml"
        self.seen: list[Secret] = []
        self.keys(new_seal_key())
        self.key_file.chmod(0o600)
        self.config.write_text(
            "credentials:\n"
            "  cache: {retry_ms: 100}\n"
            f"  sealed: {{path: {self.path}, key: 'file:{self.key_file}'}}\n"
        )

    def keys(self, *keys: Secret) -> None:
        self.key_file.write_text("".join(f"{key.reveal()}\n" for key in keys))

    def process(self) -> tuple[Resolver, SealedWriter]:
        settings = load(self.config, {}).credentials
        resolver = settings.resolver({}, self.seen.append)
        assert settings.sealed is not None
        return resolver, SealedWriter(settings.sealed.file(resolver.resolve, self.seen.append))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_one_process_writes_another_resolves_at_once(machine: Machine) -> None:
    _, console = machine.process()
    gateway, _ = machine.process()
    for number in range(5):
        assert console.write(NAME, Secret(f"value {number}")) == REF
        assert gateway.resolve(REF) == Secret(f"value {number}")
    console.delete(REF)
    with pytest.raises(SecretUnavailable, match="was it deleted") as caught:
        gateway.resolve(REF)
    assert not isinstance(caught.value, BackendAway)


def test_each_key_is_kept_out_of_the_logs_by_itself(machine: Machine) -> None:
    one, two = new_seal_key(), new_seal_key()
    machine.keys(one, two)
    resolver, writer = machine.process()
    writer.write(NAME, Secret("value"))
    assert one in machine.seen
    assert two in machine.seen
    machine.seen.clear()
    resolver.resolve(REF)
    assert {secret.reveal() for secret in machine.seen} >= {
        one.reveal(),
        two.reveal(),
        "value",
    }


@pytest.mark.parametrize("trouble", ["moved", "other key", "damaged", "no key"])
def test_a_file_that_cannot_be_read_says_nothing_of_its_secrets(
    machine: Machine, trouble: str
) -> None:
    gateway, console = machine.process()
    console.write(NAME, Secret("value"))
    assert gateway.resolve(REF) == Secret("value")
    data, keys = machine.path.read_bytes(), machine.key_file.read_text()
    if trouble == "moved":
        machine.path.unlink()
    elif trouble == "damaged":
        machine.path.write_bytes(data[:-1])
    else:
        machine.keys(*([] if trouble == "no key" else [new_seal_key()]))
        machine.path.write_bytes(data)
    # The last good value counts, as with a Vault that is away; who starts now has none.
    assert gateway.resolve(REF) == Secret("value")
    late, _ = machine.process()
    with pytest.raises(BackendAway) as caught:
        late.resolve(REF)
    assert str(machine.path) in str(caught.value)
    assert gateway.silent_s()["sealed"] > 0
    machine.key_file.write_text(keys)
    machine.path.write_bytes(data)
    late, _ = machine.process()
    assert late.resolve(REF) == Secret("value")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def runs(*words: str) -> tuple[int, str]:
        code = 0
        try:
            main(list(words))
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return runs


def test_a_key_is_made_onto_the_screen_or_into_a_file_of_this_user_alone(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, said = run("secrets", "seal-key")
    assert code == 0
    assert len(seal_keys(Secret(said))) == 1
    path = tmp_path / "key"
    code, said = run("secrets", "seal-key", "--to", str(path))
    assert code == 0
    made = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert made.strip() not in said
    assert f"file:{path}" in said
    assert seal_keys(Secret(made))[0].id in said
    code, said = run("secrets", "seal-key", "--to", str(path))
    assert code != 0
    assert "is there already" in said
    assert path.read_text() == made


def test_reseal_leaves_all_under_the_first_key(
    run: Callable[..., tuple[int, str]], machine: Machine
) -> None:
    _, writer = machine.process()
    writer.write(NAME, Secret("value"))
    old, new = Secret(machine.key_file.read_text()), new_seal_key()
    machine.keys(new, old)
    code, said = run("secrets", "reseal", "--config", str(machine.config))
    assert code == 0, said
    assert f"1 secrets in {machine.path} are sealed with key {seal_keys(new)[0].id} now" in said
    assert new.reveal() not in said
    assert SealedFile(machine.path, lambda: new).read(NAME) == Secret("value")
    machine.keys(new_seal_key())
    code, said = run("secrets", "reseal", "--config", str(machine.config))
    assert code != 0
    assert "put the key that it was written with there too" in said


def test_the_file_is_checked_with_the_other_secrets(machine: Machine) -> None:
    def found() -> Finding:
        settings = load(machine.config, {})
        resolver = settings.credentials.resolver({}, machine.seen.append)
        (finding,) = findings(settings, resolver.resolve, 0.0)
        return finding

    assert (found().place, found().state) == ("credentials.sealed", "ok")
    _, writer = machine.process()
    writer.write(NAME, Secret("value"))
    assert found().good
    machine.keys(new_seal_key())
    assert "put the key that it was written with there too" in found().mend
    machine.key_file.unlink()
    assert "file:" in found().mend
    assert not found().good


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("'file:", "'hunter2-canary", "not a secret reference"),
        ("'file:", "'sealed:a/b/canary", "cannot be in one"),
        ("path: /", "path: canary/", "credentials.sealed.path"),
        (", key:", ", keys:", "did you mean key"),
    ],
)
def test_a_mistake_in_the_settings_is_told(
    machine: Machine, old: str, new: str, words: str
) -> None:
    text = machine.config.read_text()
    assert old in text
    machine.config.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match=words) as caught:
        load(machine.config, {})
    assert "canary" not in str(caught.value)


def test_without_its_settings_the_scheme_says_which_are_missing() -> None:
    with pytest.raises(SecretUnavailable, match=r"write credentials\.sealed in hookline\.yaml"):
        Resolver([]).resolve(REF)
