"""Real parts that are built from a published Go module, inside a copy of its folder.

Built there its own go.sum is used, so that no checksum is looked up.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.parts.cache import PartMissing


def build_module(
    module: str,
    package: str,
    binary: Path,
    *,
    options: tuple[str, ...] = (),
    mend: Callable[[Path], None] = lambda source: None,
) -> None:
    """Build `package` of `module` (`path@version`) as `binary`; `mend` may edit its copy first.

    PartMissing, with the end of Go's own words, if it cannot be built.
    """
    go = shutil.which("go")
    if go is None:
        raise PartMissing(f"{binary.name} is built with Go: https://go.dev/doc/install")
    folder = binary.parent
    source = folder / "source"
    _run([go, "mod", "download", module], folder)
    root = _run([go, "env", "GOMODCACHE"], folder).strip()
    shutil.copytree(Path(root) / module, source)
    for path in (source, *source.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    mend(source)
    _run([go, "build", *options, "-trimpath", "-o", str(binary), package], source)
    shutil.rmtree(source)


def _run(command: list[str], folder: Path) -> str:
    environ = {**os.environ, "GOFLAGS": "", "GOWORK": "off", "CGO_ENABLED": "0"}
    done = subprocess.run(
        command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise PartMissing(f"`{' '.join(command)}` failed:\n{done.stderr[-2000:]}")
    return done.stdout
