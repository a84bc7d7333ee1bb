"""The `hookline` command: each subcommand is loaded only when it is used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import click

from schemas.errors import ConfigurationError, HooklineError

_COMMANDS: Final = {
    "demo": "See everything work on this machine, in under a minute.",
    "gateway": "Receive webhooks and put them on Kafka.",
    "spool": "See and drain what waits for Kafka in the gateway's spool.",
    "consumer": "Apply events: run your handlers, each event once and in order.",
    "monitor": "Read the execution log into a store that answers questions about it.",
    "console": "Serve the pages for people: figures, events, dead letters, alerts.",
    "alerts": "See what fires, silence it; the rules, also for a Prometheus.",
    "dashboards": "Print Grafana dashboards.",
    "parked": "See which keys are parked, and try them again at once.",
    "dead-letters": "See, redrive or discard what was given up on.",
    "connections": "See and change which connections there are; pause, revoke.",
    "catalogue": "See and search the systems that can be connected; write entries.",
    "connect-sessions": "Make a link on which a customer connects a system.",
    "tokens": "Make, list, rotate and revoke API tokens.",
    "audit": "See who changed what, when and from where.",
    "topics": "Create and check Kafka's topics.",
    "doctor": "Check all that must be right, each line with its mend.",
    "top": "See live what gateways and consumers do.",
    "trace": "See every step of a request, from its id.",
    "probe": "Send synthetic webhooks on a schedule, and check answer and effect.",
    "send": "Sign a body as the provider would and post it.",
    "secrets": "Check secrets; rotate, retire and revoke those of a connection.",
    "config": "Check the settings, or print their schema or an example.",
}


class _Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"hookline.commands.{name.replace('-', '_')}")
        found: click.Command = module.command
        return found

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        # The summaries from here: importing every command for --help takes a second.
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("hookline"), prog_name="hookline")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def hookline(context: click.Context, debug: bool) -> None:
    """Webhooks, kept safe on Kafka and applied exactly once, in order."""
    context.obj = {"debug": debug}


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point. Exit codes: 0 done, 1 failed, 2 wrong configuration or arguments."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        hookline.main(args=list(arguments), prog_name="hookline")
    except HooklineError as error:
        if "--debug" in arguments:
            raise
        for line in str(error).splitlines() or [type(error).__name__]:
            click.secho("error: ", fg="red", bold=True, nl=False, err=True)
            click.echo(line, err=True)
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)


if __name__ == "__main__":
    main()
