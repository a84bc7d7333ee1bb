"""What an operator should look at first: one sentence each, worst first, with where to go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from console import words
from console.pages import alerts
from console.visit import ConnectionFacts, Visit, address
from consumer.monitor.contract import ConnectionHealth, ConnectionTotal
from schemas.errors import HooklineError

_DAY_S: Final = 86_400
#: A signing secret whose time ends within this is worth a word.
EXPIRY_WARNING_S: Final = 14 * _DAY_S
#: Of a connection's requests or events: above this share, and from so many on.
MUCH: Final = 0.05
FEW: Final = 10
#: What is not the senders' fault is worth a word from this share on.
ANY_UNAVAILABLE: Final = 0.001
#: Rhythms of fewer pauses say nothing.
LEAST_PAUSES: Final = 20

_ORDER: Final = {"bad": 0, "warn": 1, "quiet": 2}
#: How many are shown; the rest is counted.
MAX_SHOWN: Final = 12


class Attention(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to look at."""

    tone: str
    word: str
    what: str
    why: str
    link: str
    act: str


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What the consumer's store holds back. `problem`: why that is not known."""

    dead_letters: int = 0
    parked_keys: int = 0
    parked_events: int = 0
    #: There are more parked keys than were counted.
    more: bool = False
    problem: str = ""


def of_alerts(visit: Visit) -> Iterable[Attention]:
    """What fires and nobody has silenced."""
    try:
        found = alerts.firing(visit)
    except HooklineError as error:
        yield Attention(
            tone="warn",
            word="Not known",
            what="Alerts cannot be read",
            why=str(error),
            link="/alerts",
            act="Try again",
        )
        return
    for alert in found:
        yield Attention(
            tone="bad" if alert.severity == "page" else "warn",
            word="Alert",
            what=alert.summary or alert.rule,
            why=alert.description,
            link="/alerts",
            act="See alerts",
        )


def of_store(held: Held) -> Iterable[Attention]:
    """Dead letters and parked keys."""
    if held.problem:
        yield Attention(
            tone="warn",
            word="Not known",
            what="Dead letters and parked keys cannot be counted",
            why=held.problem,
            link="/dead-letters",
            act="Try again",
        )
    if held.dead_letters:
        yield Attention(
            tone="bad",
            word="Dead letters",
            what=f"{words.count(held.dead_letters)} given up on",
            why="They are kept with their reason until you redrive or discard them.",
            link="/dead-letters",
            act="Look at them",
        )
    if held.parked_keys:
        more = "more than " if held.more else ""
        yield Attention(
            tone="warn",
            word="Parked",
            what=f"{more}{words.count(held.parked_keys)} keys with "
            f"{words.count(held.parked_events)} events",
            why="An event of each keeps failing, and the later ones wait behind it in order.",
            link="/parked",
            act="Look at them",
        )


def of_traffic(totals: Sequence[ConnectionTotal], span: str) -> Iterable[Attention]:
    """Connections with many errors or refusals within a range."""
    for total in totals:
        counts, name = total.counts, total.connection
        link = address("/events", {"connection": name, "outcome": "errors"})
        if counts.unavailable > max(FEW, counts.requests * ANY_UNAVAILABLE):
            yield Attention(
                tone="bad",
                word="Not taken",
                what=f"{_name(name)}: {words.count(counts.unavailable)} requests were answered 5xx",
                why=f"The gateway or Kafka could not take them ({span}); their sender tries again.",
                link=address("/requests", {"connection": name, "refused": "1"}),
                act="See requests",
            )
        if counts.errors >= FEW and counts.errors > counts.events * MUCH:
            yield Attention(
                tone="bad",
                word="Failing",
                what=f"{_name(name)}: {words.share(counts.errors / counts.events)} of its events "
                "fail",
                why=f"{words.count(counts.errors)} of {words.count(counts.events)} ({span}).",
                link=link,
                act="See events",
            )
        refused = counts.refused - counts.unavailable
        if name and refused >= FEW and refused > counts.requests * MUCH:
            yield Attention(
                tone="warn",
                word="Refused",
                what=f"{name}: {words.share(refused / counts.requests)} of its requests are "
                "refused",
                why=f"{words.count(refused)} of {words.count(counts.requests)} ({span}): a wrong "
                "signature, too many at once, or too large.",
                link=address("/requests", {"connection": name, "refused": "1"}),
                act="See requests",
            )


def silent(health: ConnectionHealth) -> bool:
    """Longer without a sign than ever in its known rhythm, when something was to be expected."""
    return (
        health.pauses >= LEAST_PAUSES
        and health.expected > 0
        and health.silent_ns > max(health.longest_pause_ns, 3 * health.usual_pause_ns)
    )


def of_silence(found: Sequence[ConnectionHealth], quiet: frozenset[str]) -> Iterable[Attention]:
    """Connections that have fallen silent; not those in `quiet`, which take nothing."""
    for health in found:
        if health.connection and health.connection not in quiet and silent(health):
            yield Attention(
                tone="warn",
                word="Silent",
                what=f"{health.connection}: nothing for {words.duration(health.silent_ns)}",
                why=f"Its longest pause so far was {words.duration(health.longest_pause_ns)}, and "
                f"a week ago {words.count(health.expected)} came in such a time. Is its webhook "
                "still set up at the provider?",
                link=_page(health.connection),
                act="See connection",
            )


def of_secrets(found: Sequence[ConnectionFacts], now_s: float) -> Iterable[Attention]:
    """Connections that will soon have no signing secret that counts, or have none now."""
    for one in found:
        if one.state != "active":
            continue
        live = [secret for secret in one.secrets if secret.state in ("active", "not yet")]
        if not live:
            yield Attention(
                tone="bad",
                word="No secret",
                what=f"{one.connection} has no signing secret that counts",
                why="Its webhooks cannot be verified and are refused.",
                link=_page(one.connection),
                act="See secrets",
            )
            continue
        last_s = max(secret.not_after_s or float("inf") for secret in live)
        if last_s - now_s < EXPIRY_WARNING_S:
            yield Attention(
                tone="warn",
                word="Expiring",
                what=f"{one.connection}: its last secret ends "
                f"{words.ago(int(last_s * 1e6), int(now_s * 1e6))}",
                why="Add the next one now, with `hookline secrets add`: both count for a while.",
                link=_page(one.connection),
                act="See secrets",
            )


def sorted_by_need(found: Iterable[Attention]) -> list[Attention]:
    """The worst first; at most `MAX_SHOWN`."""
    every = sorted(found, key=lambda one: _ORDER[one.tone])
    if len(every) <= MAX_SHOWN:
        return every
    rest = len(every) - MAX_SHOWN + 1
    return [
        *every[: MAX_SHOWN - 1],
        Attention(
            tone="warn",
            word="And more",
            what=f"{rest} more",
            why="The page of connections shows each of them.",
            link="/connections",
            act="See connections",
        ),
    ]


def _page(connection: str) -> str:
    return f"/connections/{quote(connection, safe='')}"


def _name(connection: str) -> str:
    return connection or "unknown connections"
