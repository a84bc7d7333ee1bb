"""What the console changes: first as a dry run, with scope and CSRF, and in the audit log."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from consumer.stores.operations import Filter
from consumer.stores.sqlite_operations import SqliteOperations
from credentials.audit_log import AuditLog
from schemas.access_codec import AUDIT
from schemas.api_token import Scope
from schemas.audit import AuditRecord, Phase
from schemas.errors import StoreUnavailable
from tests.console.reading import Page
from tests.console.stage import ENVIRONMENT, GROUP, Stage, letter, parked_event


class Records:
    """The audit topic in memory; `away`: it cannot be written now."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []
        self.away = False

    def write(self, key: bytes, value: bytes | None) -> int:
        """See `AuditTopic`."""
        if self.away:
            raise StoreUnavailable("Kafka is away")
        self.records.append(AUDIT.decode(value or b""))
        return len(self.records)


@pytest.fixture
def audit(fresh: Stage) -> Records:
    topic = Records()
    fresh.gate.audit = AuditLog(topic, ENVIRONMENT, redact=lambda text: text)
    return topic


@pytest.fixture
def held(fresh: Stage) -> Stage:
    fresh.bury(*(letter(number) for number in range(1, 31)))
    fresh.bury(letter(40, reason="exhausted"))
    fresh.park(*(parked_event(number) for number in range(14)))
    return fresh


def letters(stage: Stage) -> list[int]:
    store = SqliteOperations(stage.store_path, GROUP)
    try:
        return [stored.letter.offset for stored in store.letters(Filter(), 0, 1000)]
    finally:
        store.close()


def form(client: TestClient, path: str) -> dict[str, str]:
    """The hidden fields of the first form of a page that posts."""
    page = Page(client.get(path).text)
    return {"csrf": hidden(page, "csrf")[0]}


def hidden(page: Page, name: str) -> list[str]:
    return [a.get("value", "") for t, a in page.tags if t == "input" and a.get("name") == name]


def test_a_selection_is_shown_first_and_then_just_that_is_redriven(
    held: Stage, audit: Records
) -> None:
    client = held.visitor()
    fields = form(client, "/dead-letters")
    answer = client.post(
        "/dead-letters/preview", data=fields | {"action": "redrive", "number": ["2", "3", "999"]}
    )
    page = Page(answer.text)
    assert "This was a dry run" in page.text
    assert "1 of what was ticked are gone already" in page.text
    assert len(letters(held)) == 31
    assert audit.records == []
    numbers = hidden(page, "number")
    assert numbers == ["2", "3"]
    held.bury(letter(50))
    answer = client.post("/dead-letters/redrive", data=fields | {"number": numbers})
    assert answer.status_code == 303
    assert "2 dead letters redriven." in Page(client.get(answer.headers["location"]).text).text
    assert letters(held) == [1, *range(4, 31), 40, 50]
    intent, result = audit.records
    assert (intent.action, intent.phase, result.phase) == (
        "dead_letter.redrive", Phase.INTENT, Phase.DONE,
    )  # fmt: skip
    assert (intent.target, result.details) == ("2, 3", {"chosen": "2", "done": "2"})
    assert intent.who_name == "on-call"
    assert intent.request_id.hex() == answer.headers["x-request-id"]


def test_all_that_a_filter_takes_is_discarded_and_nothing_else(held: Stage, audit: Records) -> None:
    client = held.visitor()
    fields = form(client, "/dead-letters")
    answer = client.post(
        "/dead-letters/preview",
        data=fields | {"action": "discard", "all": "1", "reason": "permanent"},
    )
    page = Page(answer.text)
    assert "Discard 30 dead letters?" in page.text
    assert "… and 20 more" in page.text
    client.post("/dead-letters/discard", data=fields | {"number": hidden(page, "number")})
    assert letters(held) == [40]
    assert [record.action for record in audit.records] == ["dead_letter.discard"] * 2


def test_parked_keys_are_tried_now(held: Stage, audit: Records) -> None:
    client = held.visitor()
    fields = form(client, "/parked")
    places = hidden(Page(client.get("/parked").text), "place")
    assert len(places) == 7
    page = Page(client.post("/parked/preview", data=fields | {"place": places[:2]}).text)
    assert "Try 2 keys now?" in page.text
    answer = client.post("/parked/retry", data=fields | {"place": hidden(page, "place")})
    assert "2 keys due now." in client.get(answer.headers["location"]).text
    store = SqliteOperations(held.store_path, GROUP)
    due = [key for key in store.parked_keys("", None, 10) if key.retry_at_ms <= held.now_us // 1000]
    store.close()
    assert len(due) == 2
    assert [record.action for record in audit.records] == ["parked.retry"] * 2


@pytest.mark.parametrize(
    "path", ["/dead-letters/redrive", "/dead-letters/discard", "/dead-letters/preview",
             "/parked/retry", "/parked/preview"],
)  # fmt: skip
def test_nothing_changes_without_csrf_scope_session_or_audit(
    held: Stage, audit: Records, path: str
) -> None:
    client = held.visitor()
    fields = form(client, "/dead-letters")
    place = hidden(Page(client.get("/parked").text), "place")[0]
    body = {"number": "1", "place": place, "action": "discard"}
    assert client.post(path, data=body).status_code == 403
    assert client.post(path, data=body | {"csrf": "x" * 43}).status_code == 403
    foreign = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    assert client.post(path, data=fields | body, headers=foreign).status_code == 403
    looker = held.visitor(Scope.EVENTS_READ)
    own = form(looker, "/dead-letters")
    refused = looker.post(path, data=own | body)
    assert refused.status_code == 403
    assert "dead-letters:write" in refused.text
    client.cookies.clear()
    assert client.post(path, data=fields | body).status_code in (401, 303)
    assert len(letters(held)) == 31
    assert audit.records == []


def test_without_the_audit_log_nothing_is_changed_and_the_page_says_so(
    held: Stage, audit: Records
) -> None:
    client = held.visitor()
    fields = form(client, "/dead-letters")
    audit.away = True
    answer = client.post("/dead-letters/discard", data=fields | {"number": "1"})
    assert answer.status_code == 503
    assert "Nothing was changed, since the audit log could not be written" in answer.text
    assert len(letters(held)) == 31


def test_nonsense_in_a_form_is_an_error_page(held: Stage, audit: Records) -> None:
    client = held.visitor()
    fields = form(client, "/dead-letters")
    for path, body in (
        ("/dead-letters/redrive", {}),
        ("/dead-letters/redrive", {"number": "1; DROP TABLE"}),
        ("/dead-letters/redrive", {"number": [str(n) for n in range(501)]}),
        ("/dead-letters/preview", {"number": "1"}),
        ("/dead-letters/preview", {"number": "999", "action": "redrive"}),
        ("/parked/retry", {"place": "AAAA"}),
        ("/parked/preview", {}),
    ):
        answer = client.post(path, data=fields | body)
        assert answer.status_code == 400, (path, body, answer.text)
        assert "<h1" in answer.text
    assert audit.records == []


def test_a_store_that_is_away_costs_only_its_own_pages(held: Stage) -> None:
    client = held.visitor()
    held.store_path.rename(held.store_path.with_suffix(".away"))
    answer = client.get("/dead-letters")
    assert answer.status_code == 503
    assert "start the consumer once" in answer.text
    assert answer.headers["x-request-id"] in answer.text
    overview = client.get("/")
    assert overview.status_code == 200
    assert "cannot be counted" in overview.text
