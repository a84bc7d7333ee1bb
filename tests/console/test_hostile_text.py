"""Text from outside is shown as text, in every field of every page, and moves no other text."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from console.visit import ConnectionFacts, SecretFacts
from schemas.execution import Attempt, Execution, Reception
from tests.console.reading import Page
from tests.console.stage import (
    NOW_US,
    FixedDirectory,
    Stage,
    event,
    letter,
    made_up,
    parked_event,
)

#: Breaks out of text, of attributes with either quote, of scripts and styles, of URLs.
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>javascript:alert(3)"
#: Marks each place where it is shown.
MARK = "onerror=alert(2)"
HIDING = "a\u202eb\x1b[31mc"

FIELDS = (
    *("tenant", "connection", "provider", "event_type", "event_id", "resource_type"),
    *("resource_id", "source", "group", "instance", "topic", "outcome", "reason"),
)


def hostile(rows: list[Execution | Reception]) -> Iterator[Execution | Reception]:
    """The same rows with evil in each text, each in its own way."""
    for row in rows:
        names = FIELDS if isinstance(row, Execution) else ("connection", "tenant", "provider",
                                                           "instance", "outcome")  # fmt: skip
        changed = {name: f"{name}{EVIL}{HIDING}" for name in names}
        if isinstance(row, Execution):
            attempt = Attempt(
                number=1,
                began_at_us=row.polled_at_us,
                duration_ns=1,
                outcome=EVIL,
                error_type=EVIL,
            )
            yield msgspec.structs.replace(row, attempts=(attempt,), failures=2, **changed)
        else:
            yield msgspec.structs.replace(row, **changed)


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    facts = ConnectionFacts(
        connection=f"connection{EVIL}{HIDING}",
        tenant=EVIL,
        provider=EVIL,
        state="active",
        secrets=[SecretFacts(name=EVIL, state=EVIL, not_after_s=NOW_US / 1e6 + 5)],
    )
    made = Stage(
        tmp_path_factory.mktemp("evil"),
        list(hostile(made_up(30, days=0.04))),
        directory=FixedDirectory([facts]),
    )
    of = event(
        1, event_type=EVIL, resource_type="x", resource_id=EVIL, connection=EVIL, tenant="t",
        payload=b'{"a": "</pre><script>alert(1)</script>"}',
    )  # fmt: skip
    made.bury(letter(1, of=of, reason=EVIL, detail=EVIL + HIDING))
    made.park(parked_event(1, key=EVIL.encode(), reason=EVIL, event_type=EVIL, connection=EVIL))
    yield made
    made.close()


def addresses(evil: Stage) -> list[str]:
    client = evil.visitor()
    found = ["/", "/connections", "/events", "/requests", "/dead-letters", "/parked", "/alerts"]
    for path in list(found):
        page = Page(client.get(path).text)
        found += [
            link for link in page.links
            if link.startswith(("/connections/", "/requests/", "/dead-letters/", "/parked/key"))
        ]  # fmt: skip
    return list(dict.fromkeys(found))


def test_no_page_takes_it_for_markup(evil: Stage) -> None:
    client = evil.visitor()
    paths = addresses(evil)
    kinds = {path.split("/")[1].split("?")[0] + str(path.count("/")) for path in paths}
    assert {"connections2", "requests2", "dead-letters2", "parked2"} <= kinds
    unmarked = []
    for path in paths:
        answer = client.get(path)
        # The dead letter's request is none that the monitor has.
        assert answer.status_code == 200 or path.startswith("/requests/"), (path, answer.text)
        page = Page(answer.text)
        scripts = [attrs for tag, attrs in page.tags if tag == "script"]
        assert all(attrs["src"].startswith("/static/") for attrs in scripts), path
        assert "img" not in [tag for tag, _ in page.tags], path
        for tag, attrs in page.tags:
            assert not [name for name in attrs if name.startswith("on") or name == "style"], path
            for name in ("href", "action", "src"):
                value = attrs.get(name, "/")
                assert value.startswith(("/", "#", "https://jaeger.example.com/")), (path, tag)
        # In the value of a menu it is what is searched for, and not shown.
        assert "\u202e" not in page.text, path
        assert "\x1b" not in page.text, path
        if MARK not in page.text:
            unmarked.append(path)
    # No alert is there, and the letter's and the parked event's requests are not known.
    assert "/alerts" in unmarked
    assert len(unmarked) <= 3


def test_each_field_is_shown_whole_somewhere(evil: Stage) -> None:
    client = evil.visitor()
    everything = "".join(client.get(path).text for path in addresses(evil))
    for name in FIELDS:
        if name != "source":
            assert f"{name}&#34;&#39;&gt;&lt;script&gt;" in everything.lower(), name


def test_what_is_typed_comes_back_as_text(evil: Stage) -> None:
    client = evil.visitor()
    fields = ("connection", "resource", "type", "outcome", "since", "until", "event", "group")
    for path in ("/events", "/requests", "/dead-letters", "/parked", "/find", "/"):
        for name in (*fields, "reason", "id", "range", "from", "to", "after", "did", "count"):
            answer = client.get(path, params={name: EVIL})
            assert answer.status_code in (200, 303, 400, 404), (path, name, answer.text)
            tags = [tag for tag, _ in Page(answer.text).tags]
            assert "img" not in tags, (path, name)
            assert tags.count("script") <= 1, (path, name)
    for path in ("/connections/", "/requests/", "/dead-letters/"):
        answer = client.get(path + EVIL.replace("/", "%2F"))
        assert answer.status_code in (400, 404)
        assert "img" not in [tag for tag, _ in Page(answer.text).tags]


def test_the_payload_is_shown_as_text_and_only_with_its_scope(evil: Stage) -> None:
    from schemas.api_token import Scope

    page = Page(evil.visitor().get("/dead-letters/1").text)
    assert "<script>alert(1)</script>" in page.text
    answer = evil.visitor(Scope.EVENTS_READ).get("/dead-letters/1")
    assert "payloads:read" in answer.text
    assert "&lt;/pre&gt;" not in answer.text
