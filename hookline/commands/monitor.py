"""`hookline monitor`: the execution log into a store, wired from the settings."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from hookline.processes.monitor import run
from hookline.settings.loading import load


@click.command("monitor")
@click.option("--config", type=click.Path(path_type=Path), help="The settings; ./hookline.yaml.")
def command(config: Path | None) -> None:
    """Read the execution log into monitor.store until a signal ends it."""
    code = run(load(config, os.environ))
    # A chore that waits for a network would keep the interpreter from ending.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
