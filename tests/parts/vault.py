"""A real HashiCorp Vault dev server, built from its Go module: for tests only, never shipped.

The build takes 8-14 minutes, so nothing starts it but `make parts-vault`; a test without it skips.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import httpx

from tests.parts.cache import PartMissing, built, cache_dir
from tests.parts.go_module import build_module
from tests.parts.process import Process, free_port

#: Later versions do not build so: their sdk module is not published to match.
VERSION = "1.18.0"
ROOT_TOKEN = "root"
_MODULE = f"github.com/hashicorp/vault@v{VERSION}"


def vault_binary() -> Path:
    """The built server; PartMissing, with the command that builds it, if it is not there."""
    binary = cache_dir() / f"vault-{VERSION}" / "vault"
    if not binary.exists():
        raise PartMissing("a real Vault is built from source, once: make parts-vault (8-14 min)")
    return binary


def build_vault() -> Path:
    """The server, built first if it is not there; PartMissing if it cannot be."""
    return built(f"vault-{VERSION}", _build) / "vault"


def _build(folder: Path) -> None:
    def mend(source: Path) -> None:
        # Vault's own modules inside its tree are not part of the published one.
        module = source / "go.mod"
        module.write_text(re.sub(r"(?m)^.*=> \./.*$", "", module.read_text()))

    build_module(_MODULE, ".", folder / "vault", options=("-mod=mod",), mend=mend)


class VaultServer:
    """One dev server in memory: KV v2 at `secret/`, unsealed, its root token known."""

    def __init__(self) -> None:
        self._binary = vault_binary()
        self._folder = Path(tempfile.mkdtemp(prefix="hookline-vault-"))
        self.address = f"http://127.0.0.1:{free_port()}"
        self._process: Process | None = None

    def __enter__(self) -> VaultServer:
        self._process = Process(
            [
                str(self._binary),
                "server",
                "-dev",
                "-dev-no-store-token",
                f"-dev-root-token-id={ROOT_TOKEN}",
                f"-dev-listen-address={self.address.removeprefix('http://')}",
            ],
            self._folder / "vault.log",
            cwd=self._folder,
            environ={"HOME": str(self._folder), "PATH": os.environ.get("PATH", "")},
        )
        self._process.wait_until(self._ready, "Vault")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.address}/v1/sys/health", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request to its API as root; an error if it refuses."""
        answer = httpx.request(
            method,
            f"{self.address}/v1/{path}",
            json=body,
            headers={"X-Vault-Token": ROOT_TOKEN},
            timeout=20,
        )
        answer.raise_for_status()
        data: dict[str, Any] = answer.json() if answer.content else {}
        return data


if __name__ == "__main__":
    try:
        print(f"part vault {VERSION}: {build_vault()}")
    except PartMissing as missing:
        raise SystemExit(f"part vault: missing. {missing}") from None
