"""`hookline top`: rates, latencies, lag, lanes, what is parked; live, from the processes' pages."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import click
import httpx
import msgspec
from rich.console import Console
from rich.live import Live

from hookline.commands.config import config_option
from hookline.settings.loading import Settings, load
from hookline.top.figures import Figures, figures
from hookline.top.pages import Window, Windows, parse
from hookline.top.screen import screen
from schemas.errors import ConfigurationError

_TIMEOUT_S: Final = 2.0
_MAX_PAGE_BYTES: Final = 32 * 1024 * 1024
_MAX_TARGETS: Final = 64


@click.command("top")
@config_option
@click.option(
    "--target",
    "targets",
    multiple=True,
    help="http://host:port of a process, several times; else those of the settings.",
)
@click.option("--once", is_flag=True, help="Two looks one interval apart, then end.")
@click.option("--json", "as_json", is_flag=True, help="With --once: one JSON object.")
@click.option("--every", "every_s", default=1.0, show_default=True, type=click.FloatRange(0.2, 60))
def command(
    config: Path | None, targets: tuple[str, ...], once: bool, as_json: bool, every_s: float
) -> None:
    """Show what gateways and consumers do now; rates and latencies are of the last 10 s.

    Ctrl-C ends it. --once: exit code 0 if every process answered, 1 otherwise.
    """
    if as_json and not once:
        raise ConfigurationError("--json shows one look: write --once, too")
    if len(targets) > _MAX_TARGETS:
        raise ConfigurationError(f"--target may be given {_MAX_TARGETS} times")
    urls = [_address(target) for target in targets] or _of(load(config, os.environ))
    with Watch(urls) as watch:
        if once:
            watch.look()
            time.sleep(every_s)
            now, trouble = watch.look()
            if as_json:
                shown = {"targets": trouble, **msgspec.to_builtins(now)}
                click.echo(json.dumps(shown))
            else:
                Console().print(screen(now, trouble))
            sys.exit(1 if any(trouble.values()) else 0)
        _live(watch, every_s)


def _live(watch: Watch, every_s: float) -> None:
    console = Console()
    try:
        with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while True:
                began_s = time.monotonic()
                now, trouble = watch.look()
                clock = time.strftime("%H:%M:%S")
                head = f"hookline top  {clock}  {', '.join(trouble)}  (Ctrl-C ends)"
                live.update(screen(now, trouble, head), refresh=True)
                time.sleep(max(0.05, every_s - (time.monotonic() - began_s)))
    except KeyboardInterrupt:
        pass


class Watch:
    """Several processes' pages, fetched at once; a context manager."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._windows = {url: Window() for url in urls}
        # No proxies of the environment: these are our own processes.
        self._client = httpx.Client(timeout=_TIMEOUT_S, trust_env=False)
        self._pool = ThreadPoolExecutor(min(16, max(1, len(self._windows))))

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._client.close()

    def look(self) -> tuple[Figures, Mapping[str, str]]:
        """The figures now, and what is the matter with each process, empty for nothing."""
        trouble = dict(zip(self._windows, self._pool.map(self._fetch, self._windows), strict=True))
        return figures(Windows(self._windows.values())), trouble

    def _fetch(self, url: str) -> str:
        window = self._windows[url]
        try:
            with self._client.stream("GET", f"{url}/metrics") as answer:
                if answer.status_code != 200:
                    window.away()
                    return f"HTTP {answer.status_code}"
                text = bytearray()
                for chunk in answer.iter_bytes():
                    text += chunk
                    if len(text) > _MAX_PAGE_BYTES:
                        window.away()
                        return "its page is too long"
            window.add(time.monotonic(), parse(text.decode("utf-8", "replace")))
        except httpx.HTTPError as error:
            window.away()
            return type(error).__name__
        except ValueError:
            window.away()
            return "no page of metrics"
        return ""


def _address(text: str) -> str:
    url = text if "://" in text else f"http://{text}"
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL("")
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ConfigurationError(
            f"--target {text!r}: write a process's address, such as http://127.0.0.1:8081"
        )
    return url.rstrip("/").removesuffix("/metrics")


def _of(settings: Settings) -> list[str]:
    gateway = settings.gateway
    listen = gateway.admin_listen if gateway.workers > 1 else gateway.listen
    return [_own(listen), _own(settings.consumer.listen)]


def _own(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    return f"http://{'127.0.0.1' if host in ('', '0.0.0.0', '[::]') else host}:{port}"
