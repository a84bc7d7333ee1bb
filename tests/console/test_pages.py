"""Each page: its numbers are those of the raw rows, its next steps are there."""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlsplit

import pytest

from console import words
from consumer.monitor.contract import FINE
from schemas.api_token import Scope
from schemas.execution import Execution, Reception
from tests.console.reading import Page
from tests.console.stage import NOW_US, Stage

PATHS = (
    *("/", "/?range=7d", "/connections", "/connections/globex-stripe-6", "/events", "/requests"),
    *("/dead-letters", "/dead-letters/1", "/parked", "/alerts"),
)
_US = 1_000_000


def get(stage: Stage, path: str, *scopes: Scope) -> Page:
    answer = stage.visitor(*scopes).get(path)
    assert answer.status_code == 200, answer.text
    return Page(answer.text)


def executions(stage: Stage, since_us: int, until_us: int = NOW_US) -> list[Execution]:
    return [
        row for row in stage.rows
        if isinstance(row, Execution) and since_us <= row.committed_at_us < until_us
    ]  # fmt: skip


def receptions(stage: Stage, since_us: int, until_us: int = NOW_US) -> list[Reception]:
    return [
        row for row in stage.rows
        if isinstance(row, Reception) and since_us <= row.received_at_us < until_us
    ]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_every_page_has_one_heading_a_title_and_its_request_id(stage: Stage, path: str) -> None:
    answer = stage.visitor().get(path)
    page = Page(answer.text)
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert answer.headers["x-request-id"] in page.text
    assert "Hookline" in page.text
    assert "http" not in [urlsplit(a.get("src", "")).scheme for t, a in page.tags if t == "script"]


@pytest.mark.parametrize("path", PATHS)
def test_no_page_without_a_session(stage: Stage, path: str) -> None:
    client = stage.visitor()
    client.cookies.clear()
    answer = client.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?next=")


@pytest.mark.parametrize("length_s", [900, 3_600, 21_600, 7 * 86_400])
def test_the_figures_are_those_of_the_raw_rows(stage: Stage, length_s: int) -> None:
    key = {900: "15m", 3_600: "1h", 21_600: "6h", 7 * 86_400: "7d"}[length_s]
    page = get(stage, f"/?range={key}")
    overview = stage.monitor.overview
    # The range is widened to whole buckets; which, the page says in its tables.
    from consumer.monitor.contract import Range
    from consumer.monitor.contract import Scope as MonitorScope

    found = overview(
        MonitorScope(environment="production"), Range(NOW_US - length_s * _US, NOW_US), measures=()
    )
    events = executions(stage, found.range.since_us)
    requests = receptions(stage, found.range.since_us)
    failed = [row for row in events if row.outcome not in FINE]
    refused = [row for row in requests if row.status >= 400]
    value, by = page.figures["Events handled"]
    minutes = (NOW_US - found.range.since_us) / 60e6
    assert value == words.rate(len(events) / minutes)
    assert by.startswith(f"{len(events):,} in all")
    value, by = page.figures["Events that failed"]
    assert value == (words.share(len(failed) / len(events)) if events else words.NOTHING)
    assert by.startswith(f"{len(failed)} of {len(events):,};")
    value, by = page.figures["Requests refused"]
    assert by.startswith(f"{len(refused)} of {len(requests):,};")
    by_outcome = Counter(row.outcome for row in events)
    shown = {
        row[0].removesuffix(" event"): int(row[1].replace(",", ""))
        for row in page.tables["Where the time goes"] or page.tables[""]
        if len(row) == 3 and row[0].endswith(" event")
    }
    assert shown == {words.outcome(code).name: n for code, n in by_outcome.items()}


def test_the_table_behind_a_chart_has_each_bucket_as_the_raw_rows_have_it(stage: Stage) -> None:
    page = get(stage, "/?range=1h")
    table = page.tables["Events per minute, as a table"]
    assert table[0] == ["From (UTC)", "now", "last week"]
    begin_us = NOW_US // (60 * _US) * 60 * _US - 60 * 60 * _US
    expected = Counter(
        (row.committed_at_us - begin_us) // (60 * _US) for row in executions(stage, begin_us)
    )
    now = [row[1] for row in table[1:]]
    # The last minute is not over, so it is not shown as if it were.
    assert now == [str(expected[i]) for i in range(60)] + [words.NOTHING]


def test_percentiles_are_within_one_percent_of_the_raw_rows(stage: Stage) -> None:
    page = get(stage, "/?range=7d")
    step = 2 * 3600 * _US
    begin_us = (NOW_US - 7 * 86_400 * _US) // step * step
    exact = sorted(row.end_to_end_ns + row.read_ns for row in executions(stage, begin_us))
    shown = page.figures["End to end, p95"][0]
    number, unit = shown.split()
    ns = float(number) * {"ms": 1e6, "s": 1e9, "µs": 1e3}[unit]
    around = exact[int(len(exact) * 0.95) - 3 : int(len(exact) * 0.95) + 3]
    assert around[0] * 0.98 <= ns <= around[-1] * 1.02


def test_a_request_is_found_by_whatever_holds_its_id(stage: Stage) -> None:
    row = next(row for row in stage.rows if isinstance(row, Execution) and row.failures)
    client = stage.visitor()
    text = row.request_id.hex()
    for pasted in (text, text.upper(), f" {text}\n", f"00-{text}-00f067aa0ba902b7-01"):
        answer = client.get("/find", params={"id": pasted})
        assert answer.headers["location"] == f"/requests/{text}", pasted
    assert client.get("/find", params={"id": "no id"}).status_code == 400
    page = Page(client.get(f"/requests/{text}").text)
    assert f"https://jaeger.example.com/trace/{text}" in page.links
    for said in (
        row.event_id, row.topic, str(row.partition), str(row.offset), row.connection,
        words.outcome(row.outcome).name, words.duration(row.end_to_end_ns), "TimeoutError",
        words.duration(row.handler_ns), words.duration(row.commit_ns), words.duration(row.lane_ns),
    ):  # fmt: skip
        assert said in page.text, said
    assert len(page.tables["Failed calls"]) == 1 + row.failures


def test_an_unknown_request_says_when_it_was_received_and_what_may_be(stage: Stage) -> None:
    answer = stage.visitor().get("/requests/" + "0" * 32)
    assert answer.status_code == 404
    assert "1 Jan 1970" in answer.text
    assert "sampled out" in answer.text
    assert stage.visitor().get("/requests/xyz").status_code == 400


def test_pages_of_events_follow_each_other_without_gap_or_repeat(stage: Stage) -> None:
    client = stage.visitor()
    path, seen = "/events?connection=acme-stripe-1", []
    while path:
        page = Page(client.get(path).text)
        seen += [link.rpartition("/")[2] for link in page.links if link.startswith("/requests/")]
        path = next((link for link in page.links if "after=" in link), "")
        assert "connection=acme-stripe-1" in path or not path
    made = [row for row in stage.rows
            if isinstance(row, Execution) and row.connection == "acme-stripe-1"]  # fmt: skip
    expected = sorted(made, key=lambda row: row.committed_at_us, reverse=True)
    assert len(seen) == len(made) > 150
    assert set(seen) == {row.request_id.hex() for row in expected}


def test_events_are_searched_by_outcome_type_resource_and_time(stage: Stage) -> None:
    client = stage.visitor()
    failed = [row for row in executions(stage, 0) if row.outcome not in FINE]
    page = Page(client.get("/events?outcome=errors").text)
    shown = {link.rpartition("/")[2] for link in page.links if link.startswith("/requests/")}
    assert shown <= {row.request_id.hex() for row in failed}
    assert len(shown) == min(50, len(failed))
    some = executions(stage, 0)[77]
    page = Page(
        client.get(
            "/events",
            params={
                "resource": f"{some.resource_type}/{some.resource_id}",
                "type": some.event_type,
                "event": some.event_id,
                "since": "9d",
            },
        ).text
    )
    shown = {link.rpartition("/")[2] for link in page.links if link.startswith("/requests/")}
    assert shown == {some.request_id.hex()}
    assert (
        "No event is of this kind" in client.get("/events?since=2030-01-01&until=2031-01-01").text
    )
    assert client.get("/events?since=yesterday").status_code == 400
    assert client.get("/events?after=rubbish").status_code == 400


def test_refused_requests_are_listed_with_those_of_no_known_connection(stage: Stage) -> None:
    client = stage.visitor()
    unknown = [row for row in receptions(stage, 0) if not row.connection]
    page = Page(client.get("/requests?connection=-").text)
    shown = {link.rpartition("/")[2] for link in page.links if link.startswith("/requests/")}
    assert shown == {row.request_id.hex() for row in unknown}
    refused = [row for row in receptions(stage, 0) if row.status >= 400]
    page = Page(client.get("/requests?refused=1").text)
    assert len(page.tables["Requests"]) == 1 + min(50, len(refused))


def test_connections_count_as_the_raw_rows_do_and_a_paused_one_says_so(stage: Stage) -> None:
    page = get(stage, "/connections?range=7d")
    step = 3600 * _US
    begin_us = (NOW_US - 7 * 86_400 * _US) // step * step
    expected = Counter(row.connection for row in executions(stage, begin_us))
    table = page.tables["Connections"]
    shown = {row[0]: int(row[5].replace(",", "")) for row in table[1:]}
    assert shown == {name: expected[name] for name in shown}
    assert {row[0]: row[1] for row in table[1:]}["globex-shopify-7"] == "Paused"
    assert stage.visitor().get("/connections/nobody").status_code == 404


def test_a_secret_that_ends_soon_is_said_on_the_overview_and_by_its_connection(
    stage: Stage,
) -> None:
    assert "acme-stripe-1: its last secret ends in 5 d" in get(stage, "/").text
    page = get(stage, "/connections/acme-stripe-1")
    assert page.tables["Signing secrets"][1][:2] == ["2026-05", "Counts"]


def test_what_the_store_holds_is_said_first(stage: Stage) -> None:
    text = get(stage, "/").text
    assert "45 given up on" in text
    assert "7 keys with 30 events" in text


def test_an_empty_system_says_what_to_do_next(fresh: Stage) -> None:
    client = fresh.visitor()
    for path, said in (
        ("/", "hookline monitor"),
        ("/events", "No event is of this kind"),
        ("/dead-letters", "No dead letters"),
        ("/parked", "Nothing is parked"),
    ):
        answer = client.get(path)
        assert answer.status_code == 200
        assert said in answer.text, path


def test_a_zoom_shows_its_stretch_and_ways_out(stage: Stage) -> None:
    until_s = NOW_US // _US - 3 * 3600
    page = get(stage, f"/?from={until_s - 3600}&to={until_s}")
    assert "Zoomed in" in page.text
    assert any(f"to={until_s - 1800}" in link for link in page.links)
    # Of nonsense an error page, never a fault.
    client = stage.visitor()
    for query in (
        "from=9&to=3",
        "from=x&to=3",
        "from=-5&to=-3",
        "range=9y",
        "from=1&to=99999999999",
    ):
        assert client.get(f"/?{query}").status_code in (200, 400), query
