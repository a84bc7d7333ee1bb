"""The snapshot: whole or the one before, believed only where it may be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from producer.connections.ledger import Ledger, Standing
from producer.connections.snapshot import Snapshot
from tests.connections.making import ENVIRONMENT, connection, record, revocation

NOW_S = 1_800_000_000.0


def snapshot(path: Path, topic: str = "connections") -> Snapshot:
    return Snapshot(path / "deep" / "snapshot", topic, 3600.0)


def written(tmp_path: Path) -> Snapshot:
    ledger = Ledger(ENVIRONMENT)
    for key, value in (record(connection()), record(connection("gone")), revocation("gone")):
        ledger.apply(key, value, 7)
    made = snapshot(tmp_path)
    made.write(ENVIRONMENT, ledger.values(), NOW_S)
    return made


def test_what_was_written_is_read_with_its_age(tmp_path: Path) -> None:
    found = written(tmp_path).read(ENVIRONMENT, NOW_S + 10)
    assert not isinstance(found, str)
    ledger, age_s = found
    assert age_s == 10
    assert ledger.servable("acme") == connection()
    assert ledger.standing("gone") is Standing.REVOKED
    # Its offsets are of no use: the topic is read from its beginning.
    assert ledger.next_offset == 0


def test_it_is_not_believed_when_too_old_or_of_another_topic_or_environment(
    tmp_path: Path,
) -> None:
    made = written(tmp_path)
    assert "snapshot_max_age_ms" in str(made.read(ENVIRONMENT, NOW_S + 3601))
    other = str(made.read("production", NOW_S))
    assert ENVIRONMENT in other
    assert "production" in other
    assert "of topic connections" in str(snapshot(tmp_path, "others").read(ENVIRONMENT, NOW_S))
    assert "there is no snapshot" in str(snapshot(tmp_path / "no").read(ENVIRONMENT, NOW_S))


def test_it_is_not_believed_when_it_is_of_a_time_that_has_not_come(tmp_path: Path) -> None:
    made = written(tmp_path)
    # The clocks of two starts differ by seconds, and each is put right now and then.
    assert not isinstance(made.read(ENVIRONMENT, NOW_S - 60), str)
    # By more, its age is not known: a clock that was a year ahead would make it young for a year.
    assert "clock" in str(made.read(ENVIRONMENT, NOW_S - 3600))


@pytest.mark.parametrize("data", [b"", b"{", b"null", b'{"format":1}', b"\xff" * 100])
def test_what_is_no_snapshot_is_told(tmp_path: Path, data: bytes) -> None:
    made = written(tmp_path)
    (tmp_path / "deep" / "snapshot").write_bytes(data)
    assert "is no snapshot" in str(made.read(ENVIRONMENT, NOW_S))


def test_only_its_owner_may_read_it_and_nothing_else_is_left_behind(tmp_path: Path) -> None:
    made = written(tmp_path)
    made.write(ENVIRONMENT, [], NOW_S)
    (path,) = (tmp_path / "deep").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_write_that_fails_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = written(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        made.write(ENVIRONMENT, [], NOW_S + 5)
    monkeypatch.undo()
    assert len(list((tmp_path / "deep").iterdir())) == 1
    found = made.read(ENVIRONMENT, NOW_S)
    assert not isinstance(found, str)
    assert found[0].ids() == ["acme", "gone"]
