"""`hookline dashboards`: Grafana dashboards, printed or written into a folder."""

from __future__ import annotations

from pathlib import Path

import click

from consumer.monitor.dashboards.boards import BOARDS
from consumer.monitor.dashboards.grafana import dashboard_json
from schemas.errors import ConfigurationError


@click.command("dashboards")
@click.argument("name", required=False)
@click.option("--into", type=click.Path(path_type=Path), help="Write all into this folder.")
def command(name: str | None, into: Path | None) -> None:
    """Print the Grafana dashboard NAME; without it, list them."""
    boards = {board.name: board for board in BOARDS}
    if into is not None:
        into.mkdir(parents=True, exist_ok=True)
        for board in BOARDS:
            path = into / f"hookline-{board.name}.json"
            path.write_text(dashboard_json(board), "utf-8")
            click.echo(path)
        return
    if name is None:
        for board in BOARDS:
            click.echo(f"{board.name:<12} {board.title}, {len(board.panels)} panels")
        return
    if name not in boards:
        raise ConfigurationError(f"there is no dashboard {name!r}; there are {', '.join(boards)}")
    click.echo(dashboard_json(boards[name]), nl=False)
