"""What is particular to secrets in files."""

import logging
import os

import pytest

from credentials.file import MAX_SECRET_BYTES, FileBackend
from credentials.reference import parse_reference
from credentials.secret import Secret
from schemas.errors import SecretUnavailable


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"value")
    path.chmod(0o600)
    return path


def fetch(path, backend=None):
    return (backend or FileBackend()).fetch(parse_reference(f"file:{path}"))


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"value\n", "value"),
        (b"value\r\n", "value"),
        (b"value\n\n", "value\n"),
        (b"value \n", "value "),
        (b"a\nb\n", "a\nb"),
        (b"value\r", "value\r"),
    ],
)
def test_one_line_end_at_the_end_is_taken_off_and_nothing_else(secret_file, content, value):
    secret_file.write_bytes(content)
    assert fetch(secret_file) == Secret(value)


def test_a_file_with_only_a_line_end_is_empty(secret_file):
    secret_file.write_bytes(b"\n")
    with pytest.raises(SecretUnavailable, match="empty"):
        fetch(secret_file)


def test_the_size_bound_is_exact(secret_file):
    secret_file.write_bytes(b"x" * MAX_SECRET_BYTES)
    assert len(fetch(secret_file).reveal()) == MAX_SECRET_BYTES
    secret_file.write_bytes(b"x" * (MAX_SECRET_BYTES + 1))
    with pytest.raises(SecretUnavailable, match="larger than 65536 bytes"):
        fetch(secret_file)


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(SecretUnavailable, match="is a directory"):
        fetch(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SecretUnavailable, match="not a regular file"):
        fetch(tmp_path / "pipe")


def test_an_endless_device_is_refused():
    with pytest.raises(SecretUnavailable, match="not a regular file"):
        fetch("/dev/zero")


def test_a_file_below_a_file_is_unavailable(secret_file):
    with pytest.raises(SecretUnavailable, match="Not a directory"):
        fetch(secret_file / "below")


@pytest.fixture
def unreadable_file(secret_file):
    secret_file.chmod(0)
    return secret_file


@pytest.fixture
def without_root():
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unreadable_file_says_who_may_not_read_it(unreadable_file, without_root):
    with pytest.raises(SecretUnavailable, match=rf"uid {os.geteuid()}\) may not read it"):
        fetch(unreadable_file)


def test_a_file_that_everyone_may_write_is_refused(secret_file):
    secret_file.chmod(0o602)
    with pytest.raises(SecretUnavailable, match="everyone may write"):
        fetch(secret_file)


def test_a_file_that_everyone_may_read_is_used_and_warned_of_once(secret_file, caplog):
    secret_file.chmod(0o644)
    backend = FileBackend()
    with caplog.at_level(logging.WARNING, "hookline.credentials"):
        assert fetch(secret_file, backend) == Secret("value")
        fetch(secret_file, backend)
    assert [record.data for record in caplog.records] == [{"path": str(secret_file)}]
    assert "value" not in caplog.text


def test_a_link_is_followed_as_kubernetes_mounts_are_links(secret_file, tmp_path):
    (tmp_path / "link").symlink_to(secret_file)
    assert fetch(tmp_path / "link") == Secret("value")
