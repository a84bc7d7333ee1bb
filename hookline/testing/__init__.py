"""For authors of handlers, in plain pytest: no Kafka, no server, one SQLite file in memory.

    from hookline.testing import check, event, run

    def test_an_order_is_kept():
        done = run(handlers, [event("hmac.order.paid", {"data": {"state": "paid"}}, "order-1")])
        assert done.rows("SELECT id, state FROM orders") == [("order-1", "paid")]

    def test_no_schedule_changes_the_result():
        check(handlers, load_events("tests/recorded.jsonl"))

What runs is the consumer itself (its dispatcher, group commit and SQLite store), with a clock
of the test's own.
"""

from hookline.testing.checking import ScheduleMatters, check
from hookline.testing.events import event, load_events, samples, save_events, webhook, webhooks
from hookline.testing.replay import run
from hookline.testing.report import Call, Delivery, Report
from hookline.testing.schedule import Shake

__all__ = [
    "Call",
    "Delivery",
    "Report",
    "ScheduleMatters",
    "Shake",
    "check",
    "event",
    "load_events",
    "run",
    "samples",
    "save_events",
    "webhook",
    "webhooks",
]
