"""Rivals live in an environment of their own, outside the repository, at pinned versions."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from tests.parts.cache import PartMissing, built


def rival_python(requirements: Path) -> Path:
    """The Python of an environment that holds these, made first if need be; PartMissing."""
    pins = requirements.read_bytes() + sys.version.encode()
    name = f"{requirements.stem}-{hashlib.sha256(pins).hexdigest()[:12]}"

    def build(folder: Path) -> None:
        print(f"Setting up the rivals of {requirements.name} (once) …", flush=True)
        _run(sys.executable, "-m", "venv", str(folder))
        _run(
            str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet",
            "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r",
            str(requirements),
        )  # fmt: skip

    return built(name, build) / "bin" / "python"


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise PartMissing(f"the rivals could not be installed:\n{done.stderr[-2000:]}")
