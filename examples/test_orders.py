"""Tests of the first handler, as its author would write them: `pytest examples/test_orders.py`."""

from __future__ import annotations

from examples.orders import handlers
from hookline.testing import check, event, run, samples


def test_the_newest_state_of_an_order_is_kept() -> None:
    done = run(
        handlers,
        [
            event("hmac.order.placed", {"data": {"state": "placed"}}, "order-1"),
            event("hmac.order.paid", {"data": {"state": "paid"}}, "order-1"),
        ],
    )
    assert done.rows("SELECT id, state, changes FROM orders") == [("order-1", "paid", 2)]


def test_a_payload_without_a_state_is_tried_again_and_then_a_dead_letter() -> None:
    broken = event("hmac.order.paid", {"data": {}}, "order-1")
    done = run(handlers, [broken])
    assert done.of(broken) == ["parked", "dead_lettered"]
    assert isinstance(done.errors[0], KeyError)


def test_copies_crashes_and_other_orders_change_nothing() -> None:
    check(handlers, samples("hmac", 20))
