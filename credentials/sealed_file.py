"""The sealed file: names in the clear, each value encrypted, the whole authenticated.

It is never changed in place: one writer at a time writes a new file beside it, syncs it and renames
it over the old one. So readers need no lock, and kill -9 at any point leaves the old or the new.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from credentials.seal_key import SealKey, seal_keys
from credentials.secret import Secret
from schemas.errors import BackendAway, SecretError

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
_MAGIC: Final = b"hookline sealed 1\n"
_MAC_BYTES: Final = 32
_SALT_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_CHUNK_BYTES: Final = 1 << 20
_LOCK_RETRY_S: Final = 0.02

#: name → nonce and ciphertext.
Sealed = dict[str, bytes]


class SealedFileUnusable(BackendAway):
    """Nothing can be said of any secret in it; the message says why, and what to do."""


class _Body(msgspec.Struct, frozen=True):
    key_id: str
    salt: bytes
    values: Sealed


class _Lock(NamedTuple):
    """One key as one file uses it."""

    key: SealKey
    salt: bytes
    values: AESGCM
    mac: bytes

    @classmethod
    def of(cls, key: SealKey, salt: bytes) -> _Lock:
        return cls(key, salt, AESGCM(key.derived(salt, "values")), key.derived(salt, "file"))

    def seal(self, name: str, secret: Secret) -> bytes:
        # Random nonces: a file sees far fewer than the 2^32 writes that are safe with one key.
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self.values.encrypt(nonce, secret.reveal().encode(), _bound(name))

    def open(self, name: str, sealed: bytes) -> Secret:
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        return Secret(self.values.decrypt(nonce, ciphertext, _bound(name)).decode())


class _Version(NamedTuple):
    """The file as it was read. The descriptor is held so that its inode is no other file's."""

    descriptor: int
    status: tuple[int, ...]
    values: Sealed
    lock: _Lock


class SealedFile:
    """One file. Any thread and any process of this machine may use it at the same time.

    Every method may raise SealedFileUnusable. `keys` gives the text of one or several seal keys,
    and is asked again whenever the file is another one than before.
    """

    def __init__(
        self,
        path: Path,
        keys: Callable[[], Secret],
        *,
        lock_wait_s: float = 10.0,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._keys = keys
        self._lock_wait_s = lock_wait_s
        self._monotonic_s = monotonic_s
        self._guard = threading.Lock()
        self._version: _Version | None = None

    def read(self, name: str) -> Secret | None:
        """The value as the file has it now; None if there is none of this name."""
        with self._guard:
            version = self._current()
            if version is None:
                raise SealedFileUnusable(
                    f"there is no sealed file at {self._path}; check credentials.sealed.path and "
                    "the mount (the first secret that is written makes it)"
                )
            sealed = version.values.get(name)
            lock = version.lock
        if sealed is None:
            return None
        try:
            return lock.open(name, sealed)
        except InvalidTag:
            # The whole is authentic, so whoever has the key has moved it.
            raise SealedFileUnusable(_tampered(self._path)) from None

    def write(self, name: str, secret: Secret) -> None:
        """Keep the value durably, in place of an older one."""
        with self._changing() as (values, lock):
            values[name] = lock.seal(name, secret)

    def delete(self, name: str) -> bool:
        """Take the value out durably; False if there is none."""
        with self._guard:
            if self._current() is None:
                return False
        with self._changing() as (values, _):
            return values.pop(name, None) is not None

    def reseal(self) -> int:
        """Encrypt all anew with the first key; how many values there are."""
        with self._changing(always=True) as (values, _):
            return len(values)

    def names(self) -> list[str]:
        """What there is, in order; nothing if there is no file yet."""
        with self._guard:
            version = self._current()
            return [] if version is None else sorted(version.values)

    def check(self) -> None:
        """The keys are of their form, and the file, if there is one yet, is whole."""
        self._known_keys()
        self.names()

    @contextmanager
    def _changing(self, *, always: bool = False) -> Iterator[tuple[Sealed, _Lock]]:
        """The values to change and the lock of the first key; the file is replaced behind it."""
        with self._one_writer():
            first = self._known_keys()[0]
            with self._guard:
                version = self._current()
            before: Sealed = {} if version is None else version.values
            lock = version.lock if version is not None else None
            if lock is None or always or lock.key.id != first.id:
                new = _Lock.of(first, secrets.token_bytes(_SALT_BYTES))
                before = _sealed_anew(self._path, before, lock, new) if lock else {}
                lock = new
            values = dict(before)
            yield values, lock
            if values != before or always:
                self._replace(values, lock)

    def _replace(self, values: Sealed, lock: _Lock) -> None:
        body = _MAGIC + msgspec.msgpack.encode(_Body(lock.key.id, lock.salt, values))
        data = body + hmac.digest(lock.mac, body, "sha256")
        if len(data) > MAX_FILE_BYTES:
            raise SealedFileUnusable(
                f"the sealed file {self._path} would pass {MAX_FILE_BYTES} bytes; delete what is "
                "no longer used, or keep secrets in Vault, AWS or Azure (docs/secrets.md)"
            )
        target = Path(os.path.realpath(self._path))
        # One name for all: this process holds the lock, so what is there is of one that was killed.
        new = target.with_name(f".{target.name}.new")
        try:
            with suppress(FileNotFoundError):
                new.unlink()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(new, flags, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            # Killed up to here, the old file is there; from here on the new one is, whole. After a
            # power loss, only from the sync of the folder on: nothing is confirmed before it.
            os.replace(new, target)
            _sync_folder(target.parent)
        except OSError as error:
            with suppress(OSError):
                new.unlink()
            raise SealedFileUnusable(
                f"the sealed file {self._path} cannot be written ({error.strerror}); check the "
                f"disk and whether uid {os.geteuid()} may write to its folder"
            ) from None

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """The lock of all processes; the kernel lets go of a killed one's."""
        path = Path(os.path.realpath(self._path))
        lock = path.with_name(f".{path.name}.lock")
        try:
            _make_folder(path.parent)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SealedFileUnusable(
                f"the sealed file {self._path} cannot be written: {lock} cannot be opened "
                f"({error.strerror}); check whether uid {os.geteuid()} may write to the folder"
            ) from None
        try:
            until_s = self._monotonic_s() + self._lock_wait_s
            while True:
                try:
                    # Not of the sealed file itself, which is another one after each change.
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self._monotonic_s() >= until_s:
                        raise SealedFileUnusable(
                            f"another process has been writing to the sealed file {self._path} for "
                            f"over {self._lock_wait_s:g} s; try again, or look which one holds "
                            f"{lock}"
                        ) from None
                    time.sleep(_LOCK_RETRY_S)
                except OSError as error:
                    raise SealedFileUnusable(
                        f"{lock} cannot be locked ({error.strerror}); put the sealed file on a "
                        "local disk"
                    ) from None
            yield
        finally:
            os.close(descriptor)

    def _current(self) -> _Version | None:
        """The file as it is now, read anew only if it is another one; the guard is held."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            self._forget()
            return None
        except OSError as error:
            raise self._unreadable(error) from None
        if self._version is not None and _status(found) == self._version.status:
            return self._version
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            self._forget()
            return None
        except OSError as error:
            raise self._unreadable(error) from None
        try:
            version = self._opened(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._forget()
        self._version = version
        return version

    def _opened(self, descriptor: int) -> _Version:
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
                raise SealedFileUnusable(_foreign(self._path))
            data = b"".join(iter(lambda: os.read(descriptor, _CHUNK_BYTES), b""))
        except OSError as error:
            raise self._unreadable(error) from None
        end = len(data) - _MAC_BYTES
        if not data.startswith(_MAGIC) or end < len(_MAGIC):
            raise SealedFileUnusable(_foreign(self._path))
        try:
            body = msgspec.msgpack.decode(data[len(_MAGIC) : end], type=_Body)
        except (msgspec.DecodeError, ValueError):
            raise SealedFileUnusable(_tampered(self._path)) from None
        keys = self._known_keys()
        key = next((key for key in keys if key.id == body.key_id), None)
        if key is None:
            # Not looked at any further: it might be anything until it is known to be authentic.
            shown = body.key_id if body.key_id.isalnum() and len(body.key_id) <= 16 else "unknown"
            raise SealedFileUnusable(
                f"the sealed file {self._path} was sealed with the key {shown}, and "
                f"credentials.sealed.key holds {', '.join(key.id for key in keys)}; put the key "
                "that it was written with there too, behind the first (docs/secrets.md)"
            )
        lock = _Lock.of(key, body.salt)
        if not hmac.compare_digest(hmac.digest(lock.mac, data[:end], "sha256"), data[end:]):
            raise SealedFileUnusable(_tampered(self._path))
        return _Version(descriptor, _status(status), body.values, lock)

    def _known_keys(self) -> list[SealKey]:
        try:
            return seal_keys(self._keys())
        except SecretError as error:
            raise SealedFileUnusable(
                f"the key of the sealed file {self._path} cannot be used: credentials.sealed.key: "
                f"{error}"
            ) from None

    def _forget(self) -> None:
        if self._version is not None:
            os.close(self._version.descriptor)
            self._version = None

    def _unreadable(self, error: OSError) -> SealedFileUnusable:
        return SealedFileUnusable(
            f"the sealed file {self._path} cannot be read ({error.strerror}); check the disk and "
            f"whether it belongs to the user of this process (uid {os.geteuid()})"
        )


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sealed_anew(path: Path, values: Sealed, old: _Lock, new: _Lock) -> Sealed:
    try:
        return {name: new.seal(name, old.open(name, sealed)) for name, sealed in values.items()}
    except InvalidTag:
        raise SealedFileUnusable(_tampered(path)) from None


def _status(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _bound(name: str) -> bytes:
    """What a value is authenticated with, so that it cannot stand under another name."""
    return b"hookline sealed 1 " + name.encode()


def _tampered(path: Path) -> str:
    return (
        f"the sealed file {path} is not as it was written: it was changed or damaged; put back a "
        "copy of before, and look who may write to it"
    )


def _foreign(path: Path) -> str:
    return f"{path} is no sealed file of this version; check credentials.sealed.path"
