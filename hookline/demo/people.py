"""What of the demo is for people: the console, and a system that can be connected by hand."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from credentials.seal_key import new_seal_key
from hookline.demo.practice_desk import PracticeDesk
from schemas.api_token import Scope
from schemas.errors import HooklineError

_WITHIN_S: Final = 60.0
_KEY: Final = "DEMO_SEAL_KEY"


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """Where to go; `served`: the page to connect on answers."""

    connect: str
    desk: str
    console: str
    token: str
    served: bool

    def texts(self) -> list[str]:
        """For the terminal."""
        return [
            f"Connect one more system: [bold]{self.connect}[/]",
            f"  Choose Practice Desk; its address and API token are on [bold]{self.desk}[/]",
            f"See what happens: [bold]{self.console}[/]",
            f"  Sign in with the API token {self.token}",
        ]


class People:
    """A context manager: the Practice Desk runs in it. `secrets` are for the processes."""

    def __init__(self, folder: Path, gateway_url: str) -> None:
        self.port = free_port()
        self._url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._gateway_url = gateway_url
        self._desk = PracticeDesk()
        self.secrets = {_KEY: new_seal_key().reveal()}

    def __enter__(self) -> People:
        self._desk.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._desk.__exit__(*details)

    def settings(self, prefix: str) -> dict[str, Any]:
        """Their part of hookline.yaml; what is at loopback is allowed here alone."""
        return {
            "credentials": {
                "sealed": {"path": str(self._folder / "secrets.sealed"), "key": f"env:{_KEY}"}
            },
            "monitor": {
                "store": f"sqlite:///{self._folder / 'monitor.db'}",
                "group": f"{prefix}.monitor",
                "listen": f"127.0.0.1:{free_port()}",
            },
            "console": {"listen": f"127.0.0.1:{self.port}", "public_url": self._url},
            "connect": {
                "gateway_url": self._gateway_url,
                "catalogue": str(Path(__file__).with_name("catalogue")),
                "secrets": {"backend": "sealed"},
                "outgoing": {"allow_networks": ["127.0.0.0/8"], "allow_hosts": ["127.0.0.1"],
                             "allow_http": True},
            },
        }  # fmt: skip

    def links(self, config: Path, environ: Mapping[str, str]) -> Links:
        """Ask the real commands for a connect session and an API token."""
        session = _ask(config, environ, "connect-sessions", "create", "--tenant", "northwind",
                       "--label", "Northwind")  # fmt: skip
        token = _ask(config, environ, "tokens", "create", "--name", "demo", "--expires", "+1d",
                     "--scopes", ",".join(Scope))  # fmt: skip
        url = str(session["url"])
        try:
            served = httpx.get(url, timeout=10, trust_env=False).status_code == 200
        except httpx.HTTPError:
            served = False
        return Links(
            connect=url,
            desk=self._desk.address,
            console=self._url,
            token=str(token["token"]),
            served=served,
        )


def _ask(config: Path, environ: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "hookline.command", *arguments, "--config", str(config), "--json"],
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        check=False,
    )
    if done.returncode != 0:
        raise HooklineError(f"hookline {' '.join(arguments[:2])}: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
