"""A private PostgreSQL server on a free port, from the system's binaries."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.parts.cache import PartMissing
from tests.parts.process import Process, free_port


def postgres_bin() -> Path:
    """The folder of initdb and postgres; PartMissing if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise PartMissing("PostgreSQL is not installed: apt-get install postgresql")
    return Path(on_path).parent


def _version(initdb: Path) -> float:
    return float(initdb.parent.parent.name)


class PostgresServer:
    """One server. `kill` and `start` keep its data and its port."""

    def __init__(self) -> None:
        self._bin = postgres_bin()
        self._folder = Path(tempfile.mkdtemp(prefix="hookline-postgres-"))
        self.port = free_port()
        self._process: Process | None = None
        # PostgreSQL refuses to run as root.
        self._as_user: list[str] = []
        if os.getuid() == 0:
            user = "postgres" if _known("postgres") else "nobody"
            os.chown(self._folder, pwd.getpwnam(user).pw_uid, -1)
            # A change of user forgets that the server is to end with us: it is told again.
            self._as_user = [
                "setpriv",
                f"--reuid={user}",
                "--clear-groups",
                "--pdeathsig=KILL",
                "--",
            ]
        subprocess.run(
            [*self._as_user, self._bin / "initdb", "-D", self._data, "-U", "hookline", "-A",
             "trust", "-E", "UTF8", "--no-sync"],
            check=True, capture_output=True, cwd=self._folder,
        )  # fmt: skip

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def dsn(self) -> str:
        """The connection URL of its database."""
        return f"postgresql://hookline@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """The server's own process id; its backends are children of it."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [*self._as_user, self._bin / "postgres", "-D", self._data, "-p", str(self.port),
                   "-c", "listen_addresses=127.0.0.1", "-k", self._folder]  # fmt: skip
        self._process = Process(
            [str(part) for part in command], self._folder / "log", cwd=self._folder
        )
        self._process.wait_until(self._answers, "PostgreSQL")

    def kill(self) -> None:
        """kill -9 of the server; its children end with it."""
        if self._process:
            self._process.kill()

    def stop(self) -> None:
        """A clean stop."""
        if self._process:
            self._process.stop()

    def query(self, sql: str, url: str = "") -> str:
        """What psql prints for a statement, without decoration; `url`: another database."""
        done = subprocess.run(
            [self._bin / "psql", url or self.dsn, "-XAtqc", sql],
            check=True, capture_output=True, text=True, cwd=self._folder,
        )  # fmt: skip
        return done.stdout.strip()

    def _answers(self) -> bool:
        ready = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0


def _known(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
