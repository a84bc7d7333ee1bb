"""What really goes wrong, and what mends it: one act for each cause, with the alerts that it fires.

An act is a generator: it brings its cause about, yields until what it waits for has come, mends the
cause, and ends. Acts that do not touch each other go on at the same time. That alerts are over is
looked up afterwards, so nothing waits for it in here.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import yaml
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from tests.chaos.alert_stage import ANOTHER, SECRET, AlertStage, connection

#: What an act waits for: it goes on when this is so.
Act = Iterator[Callable[[], bool]]
_SMALL_BYTES: Final = 50_000


class Case(msgspec.Struct):
    """One alert and its cause; times are monotonic, None where it has not come to that."""

    rule: str
    cause: str
    began_s: float
    labels: dict[str, str] = {}
    mended_s: float | None = None
    fired_s: float | None = None
    over_s: float | None = None


class Play:
    """A stage and the cases on it."""

    def __init__(self, stage: AlertStage) -> None:
        self.stage = stage
        self.cases: list[Case] = []
        self.began_s = time.monotonic()

    def cause(self, what: str, *rules: str, began_s: float | None = None, **labels: str) -> Cause:
        """A cause that begins now (or at `began_s`), and the rules that it is to fire."""
        since_s = time.monotonic() if began_s is None else began_s
        cases = [Case(rule, what, since_s, labels) for rule in rules]
        self.cases += cases
        return Cause(self.stage, cases)

    def look(self) -> None:
        """What the receiver has been told meanwhile."""
        for case in self.cases:
            if case.fired_s is None:
                case.fired_s = self.stage.told(case.rule, "firing", case.labels, case.began_s)
            if case.mended_s is not None and case.fired_s is not None and case.over_s is None:
                case.over_s = self.stage.told(case.rule, "resolved", case.labels, case.mended_s)


class Cause:
    """What was brought about; `fires` says whether all its alerts were told."""

    def __init__(self, stage: AlertStage, cases: list[Case]) -> None:
        self._stage = stage
        self._cases = cases

    def fires(self) -> bool:
        """Whether every alert of it was told."""
        return all(
            self._stage.told(one.rule, "firing", one.labels, one.began_s) is not None
            for one in self._cases
        )

    def mended(self) -> None:
        """From now on it is well."""
        for case in self._cases:
            case.mended_s = time.monotonic()


def after(seconds: float) -> Callable[[], bool]:
    """Whether so many seconds have gone by."""
    until_s = time.monotonic() + seconds
    return lambda: time.monotonic() >= until_s


def connection_without_a_secret(play: Play) -> Act:
    stage = play.stage
    file = stage.folder / "late.yaml"
    late = connection("late", f"file:{stage.missing}")
    file.write_text(yaml.safe_dump({"environment": "test", "connections": [late]}))
    not_served = play.cause(
        "`hookline connections apply` of one whose secret is not there",
        "HooklineConnectionNotServed",
    )
    yield stage.hookline("connections", "apply", "--file", str(file))
    answered = play.cause(
        "three webhooks a second are answered 503 for it",
        "HooklineGatewayErrors", "HooklineReceivingFast", "HooklineReceivingSlow",
    )  # fmt: skip
    with stage.stream("late", 3):
        yield not_served.fires
        yield answered.fires
        not_served.mended()
        answered.mended()
        stage.missing.write_text(SECRET)
        yield lambda: stage.answers["late", 200] > 9


def secret_that_ends(name: str, rule: str, bound_s: float) -> Callable[[Play], Act]:
    """The time comes at which `name`'s last secret ends within the rule's (scaled) bound."""

    def act(play: Play) -> Act:
        stage = play.stage
        crossed_s = stage.ends_s[name] - bound_s / stage.factor
        yield lambda: time.time() >= crossed_s
        ending = play.cause(
            "the time comes, and no next secret was added",
            rule,
            began_s=time.monotonic() - (time.time() - crossed_s),
            connection=name,
        )
        yield ending.fires
        ending.mended()
        yield stage.hookline("secrets", "rotate", name, "next", "env:ALERTS_SECRET")

    return act


def forgeries(play: Play) -> Act:
    stage = play.stage
    with stage.stream("forged", 4):
        forged = play.cause(
            "somebody forges: two for each four webhooks", "HooklineSignaturesRefused",
            connection="forged",
        )  # fmt: skip
        with stage.stream("forged", 2, secret=ANOTHER):
            yield forged.fires
        forged.mended()
        yield after(12)


def wrong_secret(play: Play) -> Act:
    stage = play.stage
    with stage.stream("shop", 4):
        yield lambda: stage.answers["shop", 200] > 8
        wrong = play.cause(
            "its secret's file is written over with another", "HooklineNothingVerifies",
            connection="shop",
        )  # fmt: skip
        stage.rewritten.write_text(ANOTHER)
        yield wrong.fires
        wrong.mended()
        stage.rewritten.write_text(SECRET)
        yield after(12)


def scan(play: Play) -> Act:
    scanned = play.cause("a scan: nine requests a second", "HooklineUnknownConnections")
    with play.stage.stream("nobody", 9):
        yield scanned.fires
    scanned.mended()


def unreadable(play: Play) -> Act:
    sent = play.cause(
        "authentic webhooks that are no JSON", "HooklineQuarantined", connection="acme"
    )
    # The second one: of a counter that is seen for the first time nobody knows when it grew.
    with play.stage.stream("acme", 2, body=b"no json"):
        yield sent.fires
    sent.mended()


def flood(play: Play) -> Act:
    flooded = play.cause(
        "nine a second where two are allowed", "HooklineRateLimited", connection="flooding"
    )
    with play.stage.stream("flooding", 9):
        yield flooded.fires
    flooded.mended()


def silence(play: Play) -> Act:
    # The monitor has to know its rhythm: fifty pauses.
    with play.stage.stream("quiet", 6):
        yield lambda: play.stage.answers["quiet", 200] > 60
        yield after(3)
    silent = play.cause(
        "its provider sends no more", "HooklineConnectionSilent", connection="quiet"
    )
    yield silent.fires
    with play.stage.stream("quiet", 6):
        silent.mended()
        yield after(5)


def sealed_vault(play: Play) -> Act:
    sealed = play.cause(
        "the Vault is sealed: it answers 503", "HooklineSecretBackendSilent", scheme="vault"
    )
    play.stage.vault.answers_all = (503, "Vault is sealed")
    yield sealed.fires
    sealed.mended()
    play.stage.vault.answers_all = None


def workers_and_then_their_gateway(play: Play) -> Act:
    stage = play.stage
    killed = play.cause("kill -9 of five workers, one after another", "HooklineWorkerRestarts")
    for _ in range(5):
        pids = stage.workers()
        os.kill(pids[0], signal.SIGKILL)
        gone = pids[0]
        yield lambda gone=gone: gone not in stage.workers() and len(stage.workers()) == 2  # type: ignore[misc]
    yield killed.fires
    killed.mended()
    down = play.cause("kill -9 of a gateway", "HooklineProcessDown", job="hookline-gateway")
    stage.crew.kill()
    yield down.fires
    down.mended()
    stage.start_crew()


def event_given_up(play: Play) -> Act:
    given_up = play.cause("a handler raises PermanentError", "HooklineDeadLetters")
    play.stage.mood.write_text("permanent")
    yield given_up.fires
    given_up.mended()
    play.stage.mood.write_text("")


def slow_handler(play: Play) -> Act:
    # It has to have something to compare with: an hour and ten minutes, by the scaled clock.
    yield lambda: time.monotonic() - play.began_s > 4_800 / play.stage.factor
    slow = play.cause(
        "every call of a handler takes 6 s",
        "HooklineLag", "HooklineLatencyDegraded", "HooklineFreshnessFast", "HooklineFreshnessSlow",
    )  # fmt: skip
    play.stage.mood.write_text("slow")
    yield slow.fires
    slow.mended()
    play.stage.mood.write_text("")


def slow_kafka(play: Play) -> Act:
    slow = play.cause(
        "each of Kafka's answers takes 1.3 s longer (a proxy)",
        "HooklineAckSlow", "HooklineAckDegraded",
    )  # fmt: skip
    # Well above the bound of 1 s for every webhook, and well below the stage's deadline of Kafka
    # also for one that waits for two answers, as with five requests under way it may.
    play.stage.broker.proxy.delay_s = 1.3
    yield slow.fires
    slow.mended()
    play.stage.broker.proxy.delay_s = 0.0
    yield after(5)


def failing_handler(play: Play) -> Act:
    down = play.cause(
        "what every handler calls is down",
        "HooklineEventErrors", "HooklineKeysParked", "HooklineKeysParkedMany",
    )  # fmt: skip
    play.stage.mood.write_text("fail")
    yield down.fires
    down.mended()
    play.stage.mood.write_text("")
    yield play.stage.hookline("parked", "retry", "--all")
    yield after(5)


def locked_store(play: Play) -> Act:
    stalled = play.cause("the consumer's store is locked", "HooklineConsumerStalled")
    lock = sqlite3.connect(play.stage.running.store, isolation_level=None, timeout=20)
    try:
        lock.execute("BEGIN IMMEDIATE")
        yield stalled.fires
        stalled.mended()
    finally:
        lock.close()
    yield after(5)


def kafka_away(play: Play) -> Act:
    stage = play.stage
    _limit_events(stage, _SMALL_BYTES)
    away = play.cause(
        "kill -9 of Kafka", "HooklineSpoolInUse", "HooklineSpoolOld", "HooklineConnectionsBehind"
    )
    stage.broker.kill()
    yield away.fires
    status = stage.send("acme", padding_bytes=4 * _SMALL_BYTES)
    assert status == 200, status
    away.mended()
    stage.broker.start()
    refused = play.cause(
        "the topic's max.message.bytes is below a spooled event's size", "HooklineSpoolRefused"
    )
    yield refused.fires
    refused.mended()
    _limit_events(stage, None)
    stage.running.processes["gateway"].stop()
    yield stage.hookline("spool", "drain", "--refused")
    stage.restart_gateway()
    yield after(5)


def broken_order(play: Play) -> Act:
    stage = play.stage
    # What Kafka has refused in a batch (`kafka_away`) may have come behind a later one, too, and
    # nobody is told twice.
    yield lambda: not stage.still_told("HooklineOrderBroken")
    stage.running.processes["gateway"].stop()
    stage.restart_gateway("tests.chaos.sabotage", "order")
    stage.broker.kill()
    with stage.stream("acme", 6, entities=1):
        yield after(6)
    broken = play.cause(
        "Kafka is started; a fault was put into the gateway's drain, which sends an event again "
        "behind a later one",
        "HooklineOrderBroken",
    )
    stage.broker.start()
    yield broken.fires
    broken.mended()
    stage.running.processes["gateway"].stop()
    stage.restart_gateway()


def _limit_events(stage: AlertStage, most_bytes: int | None) -> None:
    """Set the topic's `max.message.bytes`; None: as it is by default."""
    admin = AdminClient({"bootstrap.servers": stage.broker.bootstrap_servers, "log_level": 0})
    entry = ConfigEntry(
        "max.message.bytes",
        str(most_bytes),
        incremental_operation=(
            AlterConfigOpType.DELETE if most_bytes is None else AlterConfigOpType.SET
        ),
    )
    topic = ConfigResource(
        ResourceType.TOPIC, stage.running.events_topic, incremental_configs=[entry]
    )
    for altered in admin.incremental_alter_configs([topic]).values():
        altered.result(30)


#: They touch neither each other nor how soon events are applied.
APART: Final[tuple[Callable[[Play], Act], ...]] = (
    connection_without_a_secret,
    secret_that_ends("ending", "HooklineSecretExpiring", 7 * 86_400),
    secret_that_ends("ends-today", "HooklineSecretEndsToday", 86_400),
    forgeries,
    wrong_secret,
    scan,
    unreadable,
    flood,
    silence,
    sealed_vault,
    workers_and_then_their_gateway,
    event_given_up,
)
#: Of these, what no test of the alerts alone shows (tests/alerts/test_real_causes.py).
SHORT: Final = (
    connection_without_a_secret,
    secret_that_ends("ending", "HooklineSecretExpiring", 7 * 86_400),
    secret_that_ends("ends-today", "HooklineSecretEndsToday", 86_400),
    flood,
    sealed_vault,
    workers_and_then_their_gateway,
)
#: Each makes events late, so one after the other, when the slow burn rate of the first is over.
IN_TURN: Final[tuple[Callable[[Play], Act], ...]] = (
    slow_kafka,
    failing_handler,
    locked_store,
    kafka_away,
    broken_order,
)
