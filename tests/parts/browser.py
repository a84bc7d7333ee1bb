"""A real Chromium, driven by Playwright, and axe-core, which looks for what shuts people out."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.parts.cache import PartMissing, built

AXE_VERSION = "4.10.3"
_ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
)


def chromium_binary() -> str:
    """Where it is; PartMissing, with what to install, if it or its driver is not there."""
    try:
        import playwright  # noqa: F401
    except ModuleNotFoundError:
        raise PartMissing("the browser is driven by Playwright: pip install playwright") from None
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise PartMissing("pages are looked at in Chromium: apt-get install chromium")
    return found


def axe_script() -> Path:
    """axe.min.js, fetched through npm once; PartMissing if it cannot be."""
    return built(f"axe-core-{AXE_VERSION}", _fetch) / "package" / "axe.min.js"


def _fetch(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise PartMissing("axe-core is fetched by npm: apt-get install npm")
    done = subprocess.run(
        [npm, "pack", "--silent", f"axe-core@{AXE_VERSION}"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    packed = folder / f"axe-core-{AXE_VERSION}.tgz"
    if done.returncode or not packed.exists():
        raise PartMissing(f"npm could not fetch axe-core:\n{done.stderr[-2000:]}")
    with tarfile.open(packed) as archive:
        archive.extract("package/axe.min.js", folder, filter="data")


def browser_and_axe() -> str:
    """Both, for `python -m tests.parts`."""
    return f"{chromium_binary()}, {axe_script()}"


@contextmanager
def browser(*arguments: str) -> Iterator[Any]:
    """A running Chromium; `arguments` are added to its own."""
    binary = chromium_binary()
    axe_script()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=binary, args=[*_ARGUMENTS, *arguments]
        )
        try:
            yield chromium
        finally:
            chromium.close()


def packed(png: bytes) -> bytes:
    """The same picture, its data compressed for size: a browser compresses for speed."""
    at, chunks, data = 8, [], b""
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            data += body
        else:
            chunks.append((kind, body))
        at += 12 + length
    chunks.insert(-1, (b"IDAT", zlib.compress(zlib.decompress(data), 9)))
    return png[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
