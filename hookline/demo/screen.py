"""What the demo shows while it runs, and the waterfall of one request."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_GATEWAY_STEPS: Final = (
    ("read", "read_ms"),
    ("verify", "verify_ms"),
    ("identify", "identify_ms"),
    ("encode", "encode_ms"),
    ("publish", "publish_ms"),
)
_CONSUMER_STEPS: Final = (
    ("wait in lane", "lane_wait_ms"),
    ("handler", "handler_ms"),
    ("commit", "commit_ms"),
)
_BAR: Final = 44


class Picture:
    """Everything that the two processes have logged so far."""

    def __init__(self, planned: int) -> None:
        self.planned = planned
        self.accepted: dict[str, dict[str, Any]] = {}
        self.ended: dict[str, dict[str, Any]] = {}
        self.outcomes: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.effects: Counter[str] = Counter()
        self.latest: deque[str] = deque(maxlen=6)
        self.trouble: deque[str] = deque(maxlen=20)

    def take(self, process: str, line: dict[str, Any]) -> None:
        """Take in one log line."""
        what, request_id = line.get("msg"), line.get("request_id")
        if what == "accepted" and request_id:
            self.accepted[request_id] = line
            self.latest.append(f"[green]accepted[/]   {line['event_type']:<30} {_entity(line)}")
        elif what == "refused":
            self.refused[str(line.get("reason"))] += 1
            self.latest.append(f"[red]refused[/]    {line.get('status')} {line.get('reason')}")
        elif what in ("applied", "duplicate", "dead_lettered", "unhandled") and request_id:
            self.outcomes[what] += 1
            self.ended[request_id] = line | {"outcome": what}
            if what == "applied":
                self.effects[_entity(line)] += 1
            else:
                self.latest.append(f"[yellow]{what}[/]  {line['event_type']}")
        elif line.get("level", "").upper() in ("ERROR", "CRITICAL"):
            self.trouble.append(f"{process}: {what} {line.get('detail', '')}")

    @property
    def refusals(self) -> int:
        """How many requests were refused."""
        return self.refused.total()

    def show(self) -> RenderableType:
        """The live view."""
        counts = Table.grid(padding=(0, 3))
        counts.add_row(
            f"[bold green]{len(self.accepted)}[/] accepted",
            f"[bold red]{self.refusals}[/] refused",
            f"[bold cyan]{self.outcomes['applied']}[/] effects",
            f"[bold yellow]{self.outcomes['duplicate']}[/] duplicates skipped",
            f"[dim]of {self.planned} sent[/]",
        )
        entities = Table(box=None, header_style="dim", expand=True)
        entities.add_column("effects per entity (the busiest)")
        entities.add_column("", justify="right")
        for key, count in self.effects.most_common(6):
            entities.add_row(key, str(count))
        return Panel(
            Group(counts, Text(), entities, Text(), *(Text.from_markup(x) for x in self.latest)),
            title="Hookline demo: sender → gateway → Kafka → consumer → SQLite",
            title_align="left",
        )


def _entity(line: dict[str, Any]) -> str:
    """The resource key without its tenant, which is the same for all here."""
    return str(line["resource_key"]).partition("/")[2]


def waterfall(console: Console, accepted: dict[str, Any], ended: dict[str, Any]) -> None:
    """The steps of one request, from its first byte to its commit."""
    gateway, consumer = accepted["steps"], ended["steps"]
    steps = [("gateway", name, gateway[key]) for name, key in _GATEWAY_STEPS]
    # Kafka's timestamp is from before publishing, so the wait holds the publishing too.
    waited_ms = max(0.0, consumer["queue_ms"] - gateway["publish_ms"])
    steps.append(("kafka", "wait in log", waited_ms))
    steps += [("consumer", name, consumer[key]) for name, key in _CONSUMER_STEPS]
    whole_ms = sum(ms for _, _, ms in steps) or 1.0
    table = Table(box=None, header_style="dim", title_justify="left")
    for column in ("where", "step", "ms", ""):
        table.add_column(column, justify="right" if column == "ms" else "left")
    colours = {"gateway": "green", "kafka": "magenta", "consumer": "cyan"}
    past_ms = 0.0
    for where, name, ms in steps:
        before = round(_BAR * past_ms / whole_ms)
        length = max(1, round(_BAR * ms / whole_ms))
        bar = Text(" " * before)
        bar.append("█" * length, style=colours[where])
        table.add_row(where, name, f"{ms:.3f}", bar)
        past_ms += ms
    console.print(
        f"\n[bold]One request, step by step[/]  request id {accepted['request_id']}\n"
        f"{accepted['event_type']}  {accepted['resource_key']}  "
        f"partition {ended['partition']} offset {ended['offset']}  {past_ms:.1f} ms in all"
    )
    console.print(table)
