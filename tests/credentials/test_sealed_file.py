"""The sealed file: what is on the disk, crashes, tampering, keys, and many processes at once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from credentials import sealed_file
from credentials.seal_key import PREFIX, new_seal_key, seal_keys
from credentials.sealed_file import SealedFile, SealedFileUnusable
from credentials.secret import Secret
from schemas.errors import SecretFormatError

OLD, NEW = new_seal_key(), new_seal_key()
A, B = "acme/c/a", "acme/c/b"


def both(*keys: Secret) -> Secret:
    return Secret("\n".join(key.reveal() for key in keys))


def opened(path: Path, *keys: Secret, **named: Any) -> SealedFile:
    text = both(*(keys or (OLD,)))
    return SealedFile(path, lambda: text, **named)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sealed"


def test_neither_a_value_nor_its_key_is_in_any_file(path: Path) -> None:
    file = opened(path)
    file.write(A, Secret("canary-value"))
    file.write(A, Secret("canary-later"))
    file.write(B, Secret("canary-other"))
    file.delete(B)
    for found in path.parent.iterdir():
        data = found.read_bytes()
        assert b"canary" not in data
        assert OLD.reveal().encode() not in data
        assert seal_keys(OLD)[0].material not in data
        assert stat.S_IMODE(found.stat().st_mode) == 0o600, found
    assert {found.name for found in path.parent.iterdir()} == {"sealed", ".sealed.lock"}


def test_what_is_deleted_is_not_in_the_file_in_any_form(path: Path) -> None:
    file = opened(path)
    file.write(A, Secret("x" * 100))
    file.write(B, Secret("y" * 100))
    sealed = file._current().values[A]  # type: ignore[union-attr]
    assert sealed in path.read_bytes()
    assert file.delete(A)
    assert sealed not in path.read_bytes()
    assert A.encode() not in path.read_bytes()
    assert not file.delete(A)
    assert (file.read(A), file.read(B)) == (None, Secret("y" * 100))


def test_a_change_elsewhere_is_seen_at_once_also_one_of_the_same_size(path: Path) -> None:
    one, other = opened(path), opened(path)
    for number in range(200):
        one.write(A, Secret(f"value-{number:03}"))
        assert other.read(A) == Secret(f"value-{number:03}")


def test_a_file_whose_bytes_are_changed_anywhere_gives_no_value(path: Path) -> None:
    opened(path).write(A, Secret("value"))
    good = path.read_bytes()
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(SealedFileUnusable, match="sealed file"):
            opened(path).read(A)
    for cut in (0, 1, 17, 18, 40, len(good) - 1):
        path.write_bytes(good[:cut])
        with pytest.raises(SealedFileUnusable):
            opened(path).read(A)
    path.write_bytes(good + b"x")
    with pytest.raises(SealedFileUnusable, match="not as it was written"):
        opened(path).read(A)
    path.write_bytes(good)
    assert opened(path).read(A) == Secret("value")


def test_a_tampered_file_is_not_overwritten_with_what_is_left_of_it(path: Path) -> None:
    opened(path).write(A, Secret("value"))
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    tampered = path.read_bytes()
    for change in (lambda f: f.write(B, Secret("b")), lambda f: f.delete(A), lambda f: f.reseal()):
        with pytest.raises(SealedFileUnusable, match="put back a copy"):
            change(opened(path))
    assert path.read_bytes() == tampered


def test_a_value_under_another_name_is_refused_even_by_one_who_has_the_key(path: Path) -> None:
    file = opened(path)
    file.write(A, Secret("value"))
    with file._changing() as (values, _):
        values[B] = values[A]
    with pytest.raises(SealedFileUnusable, match="not as it was written"):
        file.read(B)
    assert file.read(A) == Secret("value")


def test_the_same_value_never_looks_the_same(path: Path) -> None:
    file = opened(path)
    seen = set()
    for name in (A, B, A):
        file.write(name, Secret("value"))
        seen.add(file._current().values[name])  # type: ignore[union-attr]
    assert len(seen) == 3
    other = opened(path.with_name("other"))
    other.write(A, Secret("value"))
    # One key, two files: what each uses is derived for it alone.
    assert other._current().lock.mac != file._current().lock.mac  # type: ignore[union-attr]


def test_a_wrong_key_says_which_one_is_needed(path: Path) -> None:
    opened(path, OLD).write(A, Secret("value"))
    needed, given = seal_keys(OLD)[0].id, seal_keys(NEW)[0].id
    for use in (lambda f: f.read(A), lambda f: f.write(A, Secret("b")), lambda f: f.delete(A)):
        with pytest.raises(SealedFileUnusable, match=f"{needed}.*holds {given}; put the key"):
            use(opened(path, NEW))
    assert opened(path, OLD).read(A) == Secret("value")


def test_keys_are_rotated_while_all_go_on_reading(path: Path) -> None:
    text = both(OLD)
    gateway, console = SealedFile(path, lambda: text), SealedFile(path, lambda: text)
    console.write(A, Secret("a"))
    console.write(B, Secret("b"))
    for keys in ((OLD, NEW), (NEW, OLD)):
        text = both(*keys)
        assert [gateway.read(A), console.read(B)] == [Secret("a"), Secret("b")]
    # The first change writes all with the first key.
    console.write(A, Secret("a2"))
    text = both(NEW)
    assert [gateway.read(A), console.read(B)] == [Secret("a2"), Secret("b")]
    assert [opened(path, NEW).read(A), opened(path, NEW).read(B)] == [Secret("a2"), Secret("b")]
    with pytest.raises(SealedFileUnusable):
        opened(path, OLD).read(B)


def test_the_last_value_is_deleted_also_while_keys_are_rotated(path: Path) -> None:
    opened(path).write(A, Secret("one"))
    assert opened(path, NEW, OLD).delete(A)
    assert opened(path, NEW, OLD).names() == []


def test_to_seal_anew_leaves_all_under_the_first_key_alone(path: Path) -> None:
    opened(path, OLD).write(A, Secret("a"))
    before = path.read_bytes()
    assert opened(path, NEW, OLD).reseal() == 1
    assert opened(path, NEW).read(A) == Secret("a")
    assert path.read_bytes() != before


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "hunter2-canary",
        f"{PREFIX}canary",
        "canary" * 20,
        NEW.reveal()[:-1],
        NEW.reveal() + "A",
        NEW.reveal().upper(),
        f"{NEW.reveal()[:20]}{'A' if NEW.reveal()[20] != 'A' else 'B'}{NEW.reveal()[21:]}",
        " ".join([NEW.reveal()] * 9),
        "ß" * 55,
    ],
    ids=range(10),
)
def test_what_is_no_key_is_refused_and_not_shown(path: Path, wrong: str) -> None:
    with pytest.raises(SecretFormatError) as caught:
        seal_keys(Secret(wrong))
    shown = repr(caught.value) + repr(caught.value.__context__)
    assert "canary" not in shown
    assert NEW.reveal()[10:40] not in shown
    with pytest.raises(SealedFileUnusable, match=r"credentials\.sealed\.key"):
        SealedFile(path, lambda: Secret(wrong)).write(A, Secret("a"))
    assert not path.exists()


def test_a_key_shows_its_id_alone() -> None:
    (key,) = seal_keys(NEW)
    assert key.id in repr(key)
    assert repr(key.material) not in repr(key)
    assert len({key.id for key in seal_keys(both(OLD, NEW))}) == 2
    with pytest.raises(TypeError):
        key.__reduce__()


@pytest.mark.parametrize("operation", ["write", "delete", "reseal"])
def test_kill_9_at_any_call_leaves_the_old_or_the_new(tmp_path: Path, operation: str) -> None:
    opened(tmp_path / "sealed").write(A, Secret("old"))
    opened(tmp_path / "sealed").write(B, Secret("other"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.credentials.sealed_crash", tmp_path, OLD.reveal(), operation],
        capture_output=True,
        text=True,
        check=True,
    )
    points, status = map(int, done.stdout.split())
    assert status == 0
    assert points > 12
    after = {"write": Secret("new"), "delete": None, "reseal": Secret("old")}[operation]
    found = []
    for n in range(1, points + 1):
        file = opened(tmp_path / str(n) / "sealed", lock_wait_s=0.0)
        found.append(file.read(A))
        assert found[-1] in (Secret("old"), after), n
        assert file.read(B) == Secret("other")
        # Whoever comes next is kept up by nothing, and cleans up.
        file.write(A, Secret("next"))
        assert file.read(A) == Secret("next")
        assert {p.name for p in (tmp_path / str(n)).iterdir()} == {"sealed", ".sealed.lock"}
    assert found[-1] == after
    if operation != "reseal":
        # Each side of the rename was seen, and there is one way only.
        turn = found.index(after)
        assert 1 < turn < points - 1
        assert all(value == after for value in found[turn:])


def test_it_is_synced_before_it_is_named_and_its_folder_before_it_is_confirmed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noting(name: str, real: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            what = name
            if name == "fsync":
                mode = os.fstat(arguments[0]).st_mode
                what = "sync folder" if stat.S_ISDIR(mode) else "sync file"
            calls.append(what)
            return real(*arguments, **named)

        return call

    file = opened(path)
    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noting(name, getattr(os, name)))
    file.write(A, Secret("a"))
    assert calls == ["sync file", "replace", "sync folder"]
    calls.clear()
    opened(path.parent / "new" / "folder" / "sealed").write(A, Secret("a"))
    assert calls == ["sync folder", "sync folder", "sync file", "replace", "sync folder"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_the_old_and_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    file = opened(path)
    file.write(A, Secret("old"))

    def fails(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, fails)
        with pytest.raises(SealedFileUnusable, match=r"No space left.*check the disk"):
            file.write(A, Secret("new"))
    assert file.read(A) == Secret("old")
    assert {p.name for p in path.parent.iterdir()} == {"sealed", ".sealed.lock"}


WRITER = """
import sys
from pathlib import Path
from credentials.sealed_file import SealedFile
from credentials.secret import Secret
path, key, who = sys.argv[1:]
file = SealedFile(Path(path), lambda: Secret(key), lock_wait_s=120)
for n in range(25):
    file.write(f"acme/{who}/{n}", Secret(f"{who}-{n}"))
    assert file.read(f"acme/{who}/{n}") == Secret(f"{who}-{n}")
    if n % 2:
        file.delete(f"acme/{who}/{n}")
"""


def test_no_change_is_lost_between_processes_and_no_reader_sees_half_of_one(path: Path) -> None:
    reading = opened(path)
    reading.write(A, Secret("there"))
    argv = [sys.executable, "-c", WRITER, path, OLD.reveal()]
    writers = [subprocess.Popen([*argv, f"w{n}"]) for n in range(4)]
    try:
        while any(writer.poll() is None for writer in writers):
            for name in reading.names():
                value = reading.read(name)
                _, who, n = name.split("/")
                assert value in (None, Secret("there"), Secret(f"{who}-{n}"))
            assert reading.read(A) == Secret("there")
        assert [writer.returncode for writer in writers] == [0] * 4
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    expected = {f"acme/w{who}/{n}" for who in range(4) for n in range(0, 25, 2)}
    assert set(reading.names()) == expected | {A}


def test_threads_share_one_file(path: Path) -> None:
    file = opened(path, lock_wait_s=60.0)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: file.write(f"acme/c/{n}", Secret(f"v{n}")), range(40)))
        found = list(pool.map(lambda n: file.read(f"acme/c/{n}"), range(40)))
    assert found == [Secret(f"v{n}") for n in range(40)]


def test_a_writer_that_waits_for_another_in_vain_says_what_holds_it(path: Path) -> None:
    file = opened(path, lock_wait_s=0.05)
    file.write(A, Secret("a"))
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with opened(path)._one_writer():
            held.set()
            go.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        held.wait(30)
        with pytest.raises(SealedFileUnusable, match=r"another process.*\.sealed\.lock"):
            file.write(A, Secret("b"))
        # Who reads waits for nobody.
        assert file.read(A) == Secret("a")
    finally:
        go.set()
        thread.join()


def test_a_symbolic_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real" / "sealed")
    opened(link).write(A, Secret("a"))
    assert link.is_symlink()
    assert opened(tmp_path / "real" / "sealed").read(A) == Secret("a")
    opened(link).write(A, Secret("b"))
    assert opened(tmp_path / "real" / "sealed").read(A) == Secret("b")


def test_a_file_that_is_not_there_is_said_to_be_missing(path: Path) -> None:
    with pytest.raises(SealedFileUnusable, match=r"there is no sealed file.*sealed\.path"):
        opened(path).read(A)
    assert opened(path).names() == []
    assert not opened(path).delete(A)


def test_what_is_no_sealed_file_is_left_as_it_is(path: Path) -> None:
    path.write_text("acme: hunter2\n")
    with pytest.raises(SealedFileUnusable, match="is no sealed file of this version"):
        opened(path).write(A, Secret("a"))
    assert path.read_text() == "acme: hunter2\n"


def test_it_does_not_grow_beyond_its_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_file, "MAX_FILE_BYTES", 1_000)
    file = opened(path)
    file.write(A, Secret("a" * 500))
    with pytest.raises(SealedFileUnusable, match="would pass 1000 bytes"):
        file.write(B, Secret("b" * 500))
    assert file.read(A) == Secret("a" * 500)
