"""A module of handlers that fails with a secret of the settings in its error: the log masks it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.end_to_end.canaries import Canary, search

ROOT = Path(__file__).parents[2]
NAMES = ("SIGNING", "OLD_SIGNING", "BEARER", "TARGET_URL", "PROXY", "STORE_PASSWORD")


@pytest.mark.parametrize(
    "raised",
    [
        "raise RuntimeError(' '.join(known))",
        "raise RuntimeError(repr(known).encode())",
        *(f"int(known[{n}])" for n in range(len(NAMES))),
    ],
)
def test_no_secret_of_the_settings_is_told(tmp_path: Path, raised: str) -> None:
    cores = {name: secrets.token_hex(12) for name in NAMES}
    values = {name: f"p+{core}" for name, core in cores.items()}
    values |= {
        "TARGET_URL": f"http://target.example/?token={cores['TARGET_URL']}",
        "PROXY": f"http://u:{cores['PROXY']}@proxy.example:1",
    }
    (tmp_path / "breaking.py").write_text(
        f"import os\nknown = [os.environ[name] for name in {NAMES}]\n{raised}\n"
    )
    target = {
        "events": "*",
        "url": "env:TARGET_URL",
        "proxy": "env:PROXY",
        "secrets": ["env:SIGNING", "env:OLD_SIGNING"],
        "bearer": "env:BEARER",
    }
    config = tmp_path / "hookline.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "kafka": {"bootstrap_servers": "127.0.0.1:1"},
                "consumer": {
                    "handlers": "breaking:handlers",
                    "store": "postgresql://u@127.0.0.1:1/d",
                    "store_password": "env:STORE_PASSWORD",
                    "forward": [target],
                },
            }
        )
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HOOKLINE_", "OTEL_"))}
    done = subprocess.run(
        [sys.executable, "-m", "hookline.command", "consumer", "--config", str(config)],
        cwd=tmp_path,
        env={**kept, **values, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert b"breaking.py" in said
    canaries = [Canary(name, values[name], core) for name, core in cores.items()]
    assert search({"output": said}, canaries) == [], said.decode()


def test_a_secret_that_cannot_be_had_is_told_before_the_handlers_are_loaded(
    tmp_path: Path,
) -> None:
    (tmp_path / "breaking.py").write_text("raise RuntimeError\n")
    config = tmp_path / "hookline.yaml"
    target = {"events": "*", "url": "https://a.example/b", "bearer": "env:NOT_THERE"}
    consumer = {"handlers": "breaking:handlers", "forward": [target]}
    config.write_text(yaml.safe_dump({"consumer": consumer}))
    done = subprocess.run(
        [sys.executable, "-m", "hookline.command", "consumer", "--config", str(config)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "error: consumer.forward[0].bearer: env:NOT_THERE cannot be read" in done.stderr
    assert "breaking" not in done.stderr
