"""`hookline catalogue`: the systems that customers can connect, and entries of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from producer.connect.entry_schema import schema_text
from producer.connect.openapi_document import MAX_JSON_CHARS
from producer.connect.openapi_import import import_openapi
from producer.connect.search import search
from producer.connect.system import Registration, System
from producer.connect.systems import SUFFIX, Catalogue, read_entry, read_text
from schemas.errors import ConfigurationError

_folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Your own entries, beside those that come with Hookline (connect.catalogue).",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="For scripts.")


@click.group("catalogue")
def command() -> None:
    """See, search and write entries of the catalogue of systems."""


@command.command("list")
@_folder_option
@_json_option
def list_systems(folder: Path | None, as_json: bool) -> None:
    """Show every system, and how it is connected."""
    _show(Catalogue.load(folder).all(), as_json)


@command.command("search")
@click.argument("text")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 100))
@_folder_option
@_json_option
def search_systems(text: str, limit: int, folder: Path | None, as_json: bool) -> None:
    """Find systems by name, alias or category, also mistyped."""
    found = search(Catalogue.load(folder), text, limit)
    if not found and not as_json:
        raise ConfigurationError(
            f"no system fits {text!r}; `hookline catalogue list` shows all, and `hookline "
            "catalogue import openapi.yaml` makes an entry of an OpenAPI document"
        )
    _show(found, as_json)


@command.command("show")
@click.argument("system_id", metavar="SYSTEM")
@_folder_option
def show(system_id: str, folder: Path | None) -> None:
    """Print one entry as the flow sees it, in JSON."""
    catalogue = Catalogue.load(folder)
    system = catalogue.get(system_id)
    if system is None:
        near = ", ".join(one.id for one in search(catalogue, system_id, 3))
        raise ConfigurationError(
            f"there is no system {system_id!r}" + (f"; did you mean {near}?" if near else "")
        )
    shown = system.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False))


@command.command("check")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
def check(paths: tuple[Path, ...]) -> None:
    """Tell every mistake of entries: files, or folders of them; without any, those of Hookline."""
    if not paths:
        click.echo(f"✓ {len(Catalogue.load())} entries are good")
        return
    problems: list[str] = []
    count = 0
    for path in paths:
        files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not files:
            problems.append(f"{path}: has no entry, which ends in {SUFFIX}")
        for file in files:
            count += 1
            try:
                read_entry(read_text(file), file.name)
            except ConfigurationError as error:
                problems.extend(error.problems)
    if problems:
        raise ConfigurationError(problems)
    click.echo(f"✓ {count} {'entry is' if count == 1 else 'entries are'} good")


@command.command("import")
@click.argument("document", type=click.Path(path_type=Path))
@click.option("--id", "system_id", default="", help="The entry's id; else of the document's title.")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="Write <id>.yaml into this folder; else it is printed.",
)
@click.option("--force", is_flag=True, help="Also over a file that is there.")
def import_document(document: Path, system_id: str, into: Path | None, force: bool) -> None:
    """Make an entry of an OpenAPI 3 or Swagger 2 DOCUMENT, JSON or YAML.

    It is complete and passes `check`; look its texts through before customers see them. Documents
    that it refers to elsewhere are not fetched.
    """
    made = import_openapi(read_text(document, MAX_JSON_CHARS), document.name, system_id)
    if into is None:
        click.echo(made.text, nl=False)
        return
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"{made.system_id}{SUFFIX}"
    if path.exists() and not force:
        raise ConfigurationError(f"{path}: is there already; --force writes over it")
    path.write_text(made.text, "utf-8")
    for note in made.notes:
        click.echo(f"  {note}", err=True)
    click.echo(path)


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of an entry, for editors."""
    click.echo(schema_text(), nl=False)


def _show(systems: list[System], as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "id": one.id,
                "name": one.name,
                "categories": one.categories,
                "provider": one.webhook.provider,
                "authorisation": one.authorisation.kind,
                "webhook": one.webhook.registration.how,
                "polling": one.polling is not None,
            }
            for one in systems
        ]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table(box=None, header_style="dim")
    for column in ("system", "name", "customer gives", "webhook", "provider", "polling"):
        table.add_column(column, no_wrap=column in ("system", "provider"))
    for one in systems:
        table.add_row(
            one.id,
            one.name,
            one.authorisation.kind.replace("_", " "),
            _how(one.webhook.registration),
            one.webhook.provider,
            "yes" if one.polling is not None else "",
        )
    Console().print(table)


def _how(registration: Registration) -> str:
    return "made by API" if registration.how == "api" else f"{len(registration.guidance)} steps"
