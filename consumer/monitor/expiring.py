"""What is too old or too much is deleted a little at a time; the same for every database.

Rule: up to where a grain is cut off is noted before its sums go, so that no answer takes a sum
that is gone for nothing having happened.
"""

from __future__ import annotations

from typing import Final

from consumer.monitor.buckets import GRAINS, US
from consumer.monitor.contract import RHYTHM_DAYS, Retention
from consumer.monitor.numbers import Run

_DAY_US: Final = 86_400 * US


def expire(run: Run, at: str, retention: Retention, now_us: int, limit: int) -> int:
    """Delete at most about `limit` of each kind of rows; how many that were."""
    gone = _expire_rows(run, at, retention, now_us, limit)
    kept_s = (retention.minutes_s, retention.tens_s, retention.hours_s, retention.sixths_s)
    for grain_s, keep_s in zip(GRAINS, kept_s, strict=True):
        before_s = (now_us // US - keep_s) // grain_s * grain_s
        gone += _expire_sums(run, at, grain_s, before_s, limit)
    run(
        f"DELETE FROM {at}pauses WHERE day < ?",
        (now_us // _DAY_US - RHYTHM_DAYS - 1,),
    )
    return gone


def _expire_rows(run: Run, at: str, retention: Retention, now_us: int, limit: int) -> int:
    """Delete the oldest rows, in the order in which they came."""
    gone = 0
    for table in ("events", "requests"):
        ((first, last),) = run(f"SELECT min(id), max(id) FROM {at}{table}", ())
        if first is None:
            continue
        # Numbers have few gaps, and to count the rows would take longer than a call may.
        too_many = last - retention.max_rows + 1
        ((young,),) = run(
            f"SELECT min(id) FROM {at}{table} WHERE id >= ? AND id < ? AND at_us >= ?",
            (first, first + limit, now_us - retention.rows_s * US),
        )
        too_old = first + limit if young is None else young
        until = min(max(too_many, too_old), first + limit, last + 1)
        if until > first:
            run(f"DELETE FROM {at}{table} WHERE id < ?", (until,))
            gone += until - first
    return gone


def _expire_sums(run: Run, at: str, grain_s: int, before_s: int, limit: int) -> int:
    run(
        f"INSERT INTO {at}kept AS k (grain_s, from_s) VALUES (?, ?) ON CONFLICT (grain_s)"
        " DO UPDATE SET from_s = excluded.from_s WHERE excluded.from_s > k.from_s",
        (grain_s, before_s),
    )
    # Every place that has counts has sketches, if only empty ones.
    places = (
        f"SELECT series, at_s FROM {at}sketches WHERE grain_s = ? AND at_s < ?"
        " ORDER BY at_s, series LIMIT ?"
    )
    values = (grain_s, grain_s, before_s, limit)
    ((old,),) = run(f"SELECT count(*) FROM ({places}) AS p", values[1:])
    if old:
        for table in ("counts", "sketches"):
            run(
                f"DELETE FROM {at}{table} WHERE grain_s = ? AND (series, at_s) IN ({places})",
                values,
            )
    run(
        f"DELETE FROM {at}samples WHERE grain_s = ? AND (gauge, at_s) IN (SELECT gauge, at_s"
        f" FROM {at}samples WHERE grain_s = ? AND at_s < ? ORDER BY at_s, gauge LIMIT ?)",
        values,
    )
    return int(old)


def kept_from(run: Run, at: str) -> dict[int, int]:
    """Since when (Unix s) each grain has its sums; a grain that is not there has all."""
    return dict(run(f"SELECT grain_s, from_s FROM {at}kept", ()))
