"""`AlertStore` in SQL: five small tables beside what the monitor keeps of the execution log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from consumer.monitor.alerts.databases import Database, Row, Transaction
from consumer.monitor.alerts.grouping import Group
from consumer.monitor.alerts.series import Labels
from consumer.monitor.alerts.silences import Silence
from consumer.monitor.alerts.states import Alert, State
from consumer.monitor.alerts.turns import Turn
from schemas.errors import StoreUnavailable

T = TypeVar("T")

#: From one version to the next; a step never changes.
_STEPS: Final = (
    """
    CREATE TABLE hookline_alerts (
        environment TEXT NOT NULL,
        rule TEXT NOT NULL,
        labels TEXT NOT NULL,
        since_ms BIGINT NOT NULL,
        state TEXT NOT NULL,
        resolved_ms BIGINT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (environment, rule, labels, since_ms)
    );
    CREATE TABLE hookline_alert_groups (
        environment TEXT NOT NULL,
        name TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (environment, name)
    );
    CREATE TABLE hookline_silences (
        number {serial},
        environment TEXT NOT NULL,
        from_ms BIGINT NOT NULL,
        until_ms BIGINT NOT NULL,
        body TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE hookline_alert_turns (
        environment TEXT NOT NULL PRIMARY KEY,
        holder TEXT NOT NULL,
        beat BIGINT NOT NULL
    )
    """,
)
_ORDER: Final = {"page": 0, "warning": 1, "info": 2}


class SqlAlertStore:
    """The alerts of one environment in a database."""

    def __init__(self, database: Database, environment: str) -> None:
        """StoreUnavailable if it is of a newer version, or cannot be had."""
        self._database = database
        self._environment = environment
        with database.preparing() as transaction:
            self._migrate(transaction)

    def alerts(self, resolved_since_ms: int | None = None) -> list[Alert]:
        since_ms = resolved_since_ms if resolved_since_ms is not None else 2**62
        rows = self._carry_out(
            lambda t: t.execute(
                "SELECT body FROM hookline_alerts WHERE environment = ? AND"
                " (state <> ? OR resolved_ms >= ?)",
                (self._environment, State.RESOLVED.value, since_ms),
            )
        )
        found = [msgspec.json.decode(body, type=Alert) for (body,) in rows]
        return sorted(found, key=lambda a: (_ORDER.get(a.severity, 3), -a.since_ms, a.key))

    def put(self, alerts: Sequence[Alert]) -> None:
        def write(transaction: Transaction) -> None:
            for alert in alerts:
                transaction.execute(
                    "INSERT INTO hookline_alerts VALUES (?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (environment, rule, labels, since_ms) DO UPDATE SET"
                    " state = excluded.state, resolved_ms = excluded.resolved_ms,"
                    " body = excluded.body",
                    (
                        *self._place(alert),
                        alert.state.value,
                        alert.resolved_ms,
                        msgspec.json.encode(alert).decode(),
                    ),
                )

        if alerts:
            self._carry_out(write)

    def drop(self, alerts: Sequence[Alert]) -> None:
        def delete(transaction: Transaction) -> None:
            for alert in alerts:
                transaction.execute(
                    "DELETE FROM hookline_alerts WHERE environment = ? AND rule = ?"
                    " AND labels = ? AND since_ms = ?",
                    self._place(alert),
                )

        if alerts:
            self._carry_out(delete)

    def expire(self, resolved_before_ms: int) -> int:
        def delete(transaction: Transaction) -> int:
            gone = transaction.execute(
                "DELETE FROM hookline_alerts WHERE environment = ? AND state = ?"
                " AND resolved_ms < ? RETURNING rule",
                (self._environment, State.RESOLVED.value, resolved_before_ms),
            )
            ended = transaction.execute(
                "DELETE FROM hookline_silences WHERE environment = ? AND until_ms < ?"
                " RETURNING number",
                (self._environment, resolved_before_ms),
            )
            return len(gone) + len(ended)

        return self._carry_out(delete)

    def silences(self, at_ms: int) -> list[Silence]:
        rows = self._carry_out(
            lambda t: t.execute(
                "SELECT number, until_ms, body FROM hookline_silences"
                " WHERE environment = ? AND until_ms > ? ORDER BY number",
                (self._environment, at_ms),
            )
        )
        return [
            msgspec.structs.replace(
                msgspec.json.decode(body, type=Silence), number=number, until_ms=until_ms
            )
            for number, until_ms, body in rows
        ]

    def silence(self, silence: Silence) -> Silence:
        rows = self._carry_out(
            lambda t: t.execute(
                "INSERT INTO hookline_silences (environment, from_ms, until_ms, body)"
                " VALUES (?, ?, ?, ?) RETURNING number",
                (
                    self._environment,
                    silence.from_ms,
                    silence.until_ms,
                    msgspec.json.encode(silence).decode(),
                ),
            )
        )
        return msgspec.structs.replace(silence, number=rows[0][0])

    def end_silence(self, number: int, at_ms: int) -> bool:
        rows = self._carry_out(
            lambda t: t.execute(
                "UPDATE hookline_silences SET until_ms = ? WHERE environment = ? AND number = ?"
                " AND until_ms > ? RETURNING number",
                (at_ms, self._environment, number, at_ms),
            )
        )
        return bool(rows)

    def groups(self) -> list[Group]:
        rows = self._carry_out(
            lambda t: t.execute(
                "SELECT body FROM hookline_alert_groups WHERE environment = ? ORDER BY name",
                (self._environment,),
            )
        )
        return [msgspec.json.decode(body, type=Group) for (body,) in rows]

    def put_groups(self, groups: Sequence[Group]) -> None:
        def write(transaction: Transaction) -> None:
            for group in groups:
                if group == Group(name=group.name):
                    transaction.execute(
                        "DELETE FROM hookline_alert_groups WHERE environment = ? AND name = ?",
                        (self._environment, group.name),
                    )
                    continue
                transaction.execute(
                    "INSERT INTO hookline_alert_groups VALUES (?, ?, ?)"
                    " ON CONFLICT (environment, name) DO UPDATE SET body = excluded.body",
                    (self._environment, group.name, msgspec.json.encode(group).decode()),
                )

        if groups:
            self._carry_out(write)

    def turn(self) -> Turn | None:
        rows = self._carry_out(
            lambda t: t.execute(
                "SELECT holder, beat FROM hookline_alert_turns WHERE environment = ?",
                (self._environment,),
            )
        )
        return Turn(*rows[0]) if rows else None

    def take_turn(self, holder: str, instead_of: Turn | None) -> Turn | None:
        def write(transaction: Transaction) -> list[Row]:
            if instead_of is None:
                return transaction.execute(
                    "INSERT INTO hookline_alert_turns VALUES (?, ?, 1)"
                    " ON CONFLICT (environment) DO NOTHING RETURNING holder, beat",
                    (self._environment, holder),
                )
            return transaction.execute(
                "UPDATE hookline_alert_turns SET holder = ?, beat = beat + 1"
                " WHERE environment = ? AND holder = ? AND beat = ? RETURNING holder, beat",
                (holder, self._environment, instead_of.holder, instead_of.beat),
            )

        rows = self._carry_out(write)
        return Turn(*rows[0]) if rows else None

    def give_turn_back(self, turn: Turn) -> None:
        self._carry_out(
            lambda t: t.execute(
                "DELETE FROM hookline_alert_turns WHERE environment = ? AND holder = ?"
                " AND beat = ? RETURNING beat",
                (self._environment, turn.holder, turn.beat),
            )
        )

    def close(self) -> None:
        self._database.close()

    def _place(self, alert: Alert) -> tuple[str, str, str, int]:
        return self._environment, alert.rule, _text(alert.labels), alert.since_ms

    def _carry_out(self, work: Callable[[Transaction], T]) -> T:
        with self._database.transaction() as transaction:
            return work(transaction)

    def _migrate(self, transaction: Transaction) -> None:
        transaction.execute(
            "CREATE TABLE IF NOT EXISTS hookline_alerts_version (version BIGINT NOT NULL)"
        )
        rows = transaction.execute("SELECT version FROM hookline_alerts_version")
        version: int = rows[0][0] if rows else 0
        if version > len(_STEPS):
            raise StoreUnavailable(
                f"the alerts are kept in version {version}, this build knows {len(_STEPS)}: "
                "use the newer build"
            )
        for step in _STEPS[version:]:
            for statement in step.format(serial=self._database.serial).split(";"):
                transaction.execute(statement)
        if not rows:
            transaction.execute("INSERT INTO hookline_alerts_version VALUES (?)", (len(_STEPS),))
        elif version < len(_STEPS):
            transaction.execute("UPDATE hookline_alerts_version SET version = ?", (len(_STEPS),))


def _text(labels: Labels) -> str:
    return msgspec.json.encode(dict(labels)).decode()
