"""A private Redis server on a free port, with its append-only file on."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path

from tests.parts.cache import PartMissing
from tests.parts.process import Process, free_port


def redis_server() -> str:
    """The server's binary; PartMissing if there is none."""
    found = shutil.which("redis-server")
    if found is None:
        raise PartMissing("Redis is not installed: apt-get install redis-server")
    return found


class RedisServer:
    """One server. `kill` and `start` keep its data and its port."""

    def __init__(self) -> None:
        self._binary = redis_server()
        self._folder = Path(tempfile.mkdtemp(prefix="hookline-redis-"))
        self.port = free_port()
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def data(self) -> Path:
        """The folder of its append-only file and its log."""
        return self._folder

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder,
                   "appendonly": "yes", "appendfsync": "always", "save": ""}  # fmt: skip
        command = [self._binary]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        self._process = Process(command, self._folder / "log", cwd=self._folder)
        self._process.wait_until(lambda: self.command("PING") == b"+PONG", "Redis")

    def kill(self) -> None:
        """kill -9."""
        if self._process:
            self._process.kill()

    def stop(self) -> None:
        """A clean stop."""
        if self._process:
            self._process.stop()

    def command(self, *words: str) -> bytes:
        """The answer to one command, as Redis sends it; empty if it does not answer."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as sock:
                sock.sendall((" ".join(words) + "\r\n").encode())
                return sock.recv(65536).strip()
        except OSError:
            return b""
