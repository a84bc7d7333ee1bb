"""The rival in Go, built once from `rivals/go` into the parts' cache; it may be missing."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.parts.cache import PartMissing, built

_SOURCE: Final = Path(__file__).parent / "rivals" / "go"
_BUILD_S: Final = 600


def go_server() -> Path:
    """The program; PartMissing if there is no Go, or one that cannot build it."""
    go = shutil.which("go")
    if go is None:
        raise PartMissing("Go is not installed")
    version = subprocess.run([go, "version"], capture_output=True, timeout=30).stdout
    of = hashlib.sha256(version)
    for name in ("main.go", "go.mod", "go.sum"):
        of.update((_SOURCE / name).read_bytes())
    return built(f"gateway-go-{of.hexdigest()[:12]}", lambda folder: _build(go, folder)) / "server"


def _build(go: str, folder: Path) -> None:
    print("Building the rival in Go (once) …", flush=True)
    done = subprocess.run(
        [go, "build", "-trimpath", "-mod=readonly", "-o", str(folder / "server"), "."],
        cwd=_SOURCE,
        # The Go that is here, and no newer one fetched for this.
        env=os.environ | {"GOTOOLCHAIN": "local"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_BUILD_S,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PartMissing(f"Go could not build it: {last}")
