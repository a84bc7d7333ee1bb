"""What is remembered between requests, for speed, is bounded and changes nothing."""

from __future__ import annotations

from producer.gateway.http import exchange
from producer.gateway.http.exchange import split_target
from producer.gateway.http.headers import RequestHeaders


def test_targets_are_split_the_same_again_and_not_without_end() -> None:
    exchange._targets.clear()
    for n in range(5000):
        target = b"/webhooks/%%61-%d" % n
        assert split_target(target) == split_target(target) == (f"/webhooks/a-{n}", "")
    assert 0 < len(exchange._targets) <= 2048
    exchange._targets.clear()
    for target in (b"/webhooks/a?b=c", b"/" + b"x" * 200):
        assert split_target(target) == split_target(target)
    assert not exchange._targets


def test_a_head_keeps_its_order_and_tells_what_is_not_ascii() -> None:
    headers = RequestHeaders()
    unreadable = headers.fill(
        [
            (b"X-One", b"1"),
            (b"Host", b"\xff"),
            (b"x-ONE", b"2"),
            (b"x-\xfc", b"3"),
            (b"host", b"\xfe"),
            (b"x-one", b"\xfd"),
            (b"x-one", b"4"),
        ]
    )
    assert dict(headers) == {"x-one": "1"}
    assert headers.get_all("x-one") == ["1", "2", "4"]
    assert headers.get_all("host") == []
    assert unreadable == ("host", "host", "x-one")
