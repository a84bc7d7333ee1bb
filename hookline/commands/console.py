"""`hookline console`: the pages for people, wired from the settings."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from hookline.settings.loading import load


@click.command("console")
@click.option("--config", type=click.Path(path_type=Path), help="The settings; ./hookline.yaml.")
def command(config: Path | None) -> None:
    """Serve the pages for people until a signal ends it; sign in with an API token."""
    from hookline.processes.console import run

    code = run(load(config, os.environ))
    # A page that waits for a network would keep the interpreter from ending.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
