"""The page about every provider, made from its module, so that it cannot say anything else."""

from __future__ import annotations

from typing import Final

from pydantic_core import PydanticUndefined

from producer.providers.provider import Provider
from producer.providers.registry import PROVIDERS

_HEAD: Final = """\
# Providers

A connection names its provider: how webhooks are proved, and what each is about. For every
system without a section of its own there are `standard_webhooks`, `hmac`, `cloudevents` and
`token`.

```yaml
connections:
  - id: acme-github              # webhooks go to /webhooks/acme-github
    tenant: acme
    provider: github
    secrets:
      - {name: "2026-11", ref: "env:ACME_GITHUB_SECRET"}
    options: {}                  # the provider's own, below
```

A connection may have several secrets: each is tried, and a metric says which one proved. A
repeated header that decides anything is refused. An authentic webhook that cannot be identified
goes to the quarantine topic and is answered 200. A request that holds several events is answered
200 when all of them are safe; each has the payload that the system would have sent for it alone.

`hookline send --connection NAME` signs a sample as the system would and posts it.

Made by `hookline config providers` from the modules; do not edit.

| provider | system | proof | replay window | handshake | batches |
|---|---|---|---|---|---|
"""


def providers_page() -> str:
    """The page in Markdown."""
    kinds = sorted(PROVIDERS.values(), key=lambda kind: kind.name)
    rows = [_row(kind) for kind in kinds]
    return _HEAD + "".join(rows) + "".join(_section(kind) for kind in kinds)


def _row(kind: type[Provider]) -> str:
    guide = kind.guide
    window = "none" if guide.replay.startswith("None") else "yes"
    batches = "yes" if guide.batches else "no"
    handshake = guide.handshake.partition(":")[0].replace("None.", "none")
    return (
        f"| [`{kind.name}`](#{kind.name}) | {guide.title} | {_cell(guide.scheme)} | {window} | "
        f"{handshake} | {batches} |\n"
    )


def _section(kind: type[Provider]) -> str:
    guide = kind.guide
    pages = ", ".join(f"“{page}”" for page in guide.pages)
    parts = [
        f"\n## {kind.name}\n\n{guide.title}. Follows {pages}.\n",
        f"\n- **Proof**: {guide.scheme}.\n- **Secret**: {guide.secret}\n",
        f"- **Replay**: {guide.replay}\n- **Handshake**: {guide.handshake}\n",
        "\n| identity | from |\n|---|---|\n",
    ]
    for name, text in (
        ("event id", guide.event_id),
        ("event type", guide.event_type),
        ("resource", guide.resource),
        ("version", guide.version),
        ("occurred at", guide.occurred_at),
    ):
        parts.append(f"| {name} | {_cell(text)} |\n")
    parts.append(_options(kind))
    parts.extend(f"\n{note}\n" for note in guide.notes)
    return "".join(parts)


def _options(kind: type[Provider]) -> str:
    fields = kind.Options.model_fields
    if not fields:
        return "\nNo options.\n"
    rows = ["\n| option | default | |\n|---|---|---|\n"]
    for name, field in fields.items():
        default = "required" if field.default is PydanticUndefined else _default(field.default)
        rows.append(f"| `{name}` | {default} | {_cell(field.description or '')} |\n")
    example = "".join(f"  {line}\n" for line in kind.guide.options.splitlines())
    rows.append(f"\n```yaml\nprovider: {kind.name}\noptions:\n{example}```\n")
    return "".join(rows)


def _default(value: object) -> str:
    if value is None or value in ("", ()):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
