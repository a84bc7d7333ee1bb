"""What a group commit tells the store of offsets that are done above the position."""

from __future__ import annotations

from pathlib import Path

from consumer.core.watermark import Watermark
from consumer.engine.group_commit import Batch, GroupCommitter, Postponement
from consumer.engine.tracing import ConsumerTracing
from consumer.stores.contract import Partition
from consumer.stores.sqlite import SqliteStore

P0 = Partition("events", 0)


def test_the_highest_offset_that_is_done_above_the_position_is_kept(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db", "g")
    committer = GroupCommitter(store, ConsumerTracing("g", enabled=False), lambda: 1.8e9)
    watermark = Watermark(10)
    for offset in range(10, 30):
        watermark.deliver(offset)
    watermark.complete_all([12, 13, 20, 21])
    batch = Batch(
        claims=store.claim([P0]),
        watermarks={P0: watermark},
        postponements=[Postponement(P0, b"k", 1, 5)],
    )
    assert committer.carry_out(batch).error is None
    rows = store._side.execute("SELECT next_offset, done_to, held_from_s FROM hookline_progress")
    assert rows.fetchall() == [(10, 21, 1_800_000_000)]
    committer.close()
    store.close()
