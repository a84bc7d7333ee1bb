"""Dead letters: what was given up on; inspect, redrive, discard, each first as a dry run.

A dry run's page holds the numbers that it has shown, so that what is confirmed is what was seen.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.responses import RedirectResponse, Response

from console import words
from console.pages.payload import Payload, payload_of
from console.pages.ranges import moment
from console.problems import not_found, not_understood
from console.rendering import options
from console.visit import Visit, address
from consumer.stores.operations import Filter, Operations, StoredLetter
from schemas.api_token import Scope

#: Each may be some megabytes.
PAGE: Final = 20
#: In one confirmation; more is done in several.
MAX_AT_ONCE: Final = 500
_FIRST: Final = 10
_FIELDS: Final = ("connection", "type", "resource", "reason", "since", "until")
_REASONS: Final = (
    ("permanent", "Failed for good"),
    ("exhausted", "Retries spent"),
    ("parked_exhausted", "Parked for too long"),
    ("undecodable", "Not readable"),
)
#: What is written on buttons and in results.
ACTIONS: Final = {
    "redrive": ("Redrive", "redriven", "They are parked at their own place and due now, so each "
                "resource keeps its order; the consumer takes them within seconds."),
    "discard": ("Discard", "discarded", "They are deleted from the store for good. Their topic "
                "keeps its copy for a while."),
}  # fmt: skip


class LetterRow(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter in a list."""

    number: int
    died_at_us: int
    reason: str
    attempts: int
    event_type: str
    resource_key: str
    connection: str
    request_id: str
    size: str


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Letters to act on. `more`: the filter takes others too, beyond what one step does."""

    numbers: list[int]
    first: list[LetterRow]
    total: int
    gone: int = 0

    @property
    def more(self) -> int:
        """How many are left for another step."""
        return self.total - len(self.numbers)


def page(visit: Visit) -> Response:
    """The list, the oldest first."""
    wanted = _filter(visit, visit.asked)
    after = _number(visit.query.get("after", "0"))
    with visit.parts.operations() as store:
        total = store.count(wanted)
        found = store.letters(wanted, after, PAGE + 1)
    rows = [_row(stored) for stored in found[:PAGE]]
    asked = {name: visit.asked(name) for name in _FIELDS}
    following = str(rows[-1].number) if len(found) > PAGE else ""
    return visit.page(
        "dead_letters.html",
        "/dead-letters",
        rows=rows,
        total=total,
        filtered=wanted != Filter(),
        asked=asked,
        reasons=options(_REASONS, asked["reason"]),
        may_change=visit.may(Scope.DEAD_LETTERS_WRITE),
        max_at_once=MAX_AT_ONCE,
        done=_done(visit),
        first=address("/dead-letters", asked) if after else "",
        next=address("/dead-letters", asked | {"after": following}) if following else "",
        count=f"{len(rows)} of {words.count(total)}",
    )


def one(visit: Visit, text: str) -> Response:
    """One letter."""
    number = _number(text)
    with visit.parts.operations() as store:
        stored = store.letter(number)
    if stored is None:
        raise not_found(
            f"There is no dead letter {number}",
            "It was redriven or discarded, or never there; the list shows what there is now.",
        )
    letter = stored.letter
    payload: Payload | None = None
    if visit.may(Scope.PAYLOADS_READ):
        payload = payload_of(letter.value or b"", visit.parts.redactor)
    return visit.page(
        "dead_letter.html",
        "/dead-letters",
        row=_row(stored),
        letter=letter,
        detail=letter.detail,
        payload=payload,
        may_change=visit.may(Scope.DEAD_LETTERS_WRITE),
    )


def preview(visit: Visit) -> Response:
    """The dry run: what would be done."""
    action = _action(visit)
    with visit.parts.operations() as store:
        chosen = _chosen(visit, store)
    if not chosen.numbers:
        raise not_understood(
            "Nothing is chosen",
            "Tick letters in the list, or choose all that the filter takes; what was ticked may "
            "also have gone meanwhile.",
        )
    label, _, meaning = ACTIONS[action]
    return visit.page(
        "confirm.html",
        "/dead-letters",
        title=f"{label} {_letters(len(chosen.numbers))}?",
        meaning=meaning,
        danger=action == "discard",
        target=f"/dead-letters/{action}",
        field="number",
        values=[str(number) for number in chosen.numbers],
        label=f"{label} {_letters(len(chosen.numbers))}",
        back="/dead-letters",
        rows=[
            (f"{row.number}", row.reason, row.event_type, row.resource_key) for row in chosen.first
        ],
        header=("Number", "Reason", "Type", "Resource"),
        rest=len(chosen.numbers) - len(chosen.first),
        notes=[
            *([f"{chosen.gone} of what was ticked are gone already."] if chosen.gone else []),
            *(
                [f"The filter takes {words.count(chosen.more)} more: do them in a next step, at "
                 f"most {MAX_AT_ONCE} at a time."]
                if chosen.more > 0 else []
            ),
        ],
    )  # fmt: skip


def numbers(visit: Visit) -> list[int]:
    """The letters that a confirmed form names."""
    found = sorted({_number(text) for text in visit.sent_all("number")})
    if not found or len(found) > MAX_AT_ONCE:
        raise not_understood(
            "Nothing was done", f"A step takes from 1 to {MAX_AT_ONCE} dead letters: choose again."
        )
    return found


def redrive(visit: Visit, chosen: list[int]) -> int:
    """Redrive them; how many that were."""
    with visit.parts.operations() as store:
        return store.redrive(chosen, visit.now_us // 1000)


def discard(visit: Visit, chosen: list[int]) -> int:
    """Discard them; how many that were."""
    with visit.parts.operations() as store:
        return store.discard(chosen)


def after_change(action: str, count: int) -> Response:
    """Back to the list, which says what was done."""
    return RedirectResponse(f"/dead-letters?did={action}&count={count}", 303)


def _done(visit: Visit) -> str:
    known = ACTIONS.get(visit.asked("did"))
    count = visit.asked("count")[:9]
    return f"{_letters(int(count))} {known[1]}." if known and count.isdecimal() else ""


def _letters(count: int) -> str:
    return "1 dead letter" if count == 1 else f"{words.count(count)} dead letters"


def _action(visit: Visit) -> str:
    action = visit.sent("action")
    if action not in ACTIONS:
        raise not_understood("It is not clear what to do", "Use the buttons of the list.")
    return action


def _chosen(visit: Visit, store: Operations) -> Selection:
    if visit.sent("all") != "1":
        ticked = sorted({_number(text) for text in visit.sent_all("number")})[:MAX_AT_ONCE]
        found = [stored for number in ticked if (stored := store.letter(number)) is not None]
        return Selection(
            numbers=[stored.number for stored in found],
            first=[_row(stored) for stored in found[:_FIRST]],
            total=len(found),
            gone=len(ticked) - len(found),
        )
    wanted = _filter(visit, visit.sent)
    chosen: list[int] = []
    first: list[LetterRow] = []
    after = 0
    while len(chosen) < MAX_AT_ONCE and (part := store.letters(wanted, after, PAGE)):
        chosen += [stored.number for stored in part]
        first += [_row(stored) for stored in part[: max(0, _FIRST - len(first))]]
        after = part[-1].number
    return Selection(
        numbers=chosen[:MAX_AT_ONCE], first=first, total=max(store.count(wanted), len(chosen))
    )


def _filter(visit: Visit, field: Any) -> Filter:
    return Filter(
        connection=field("connection"),
        event_type=field("type"),
        resource=field("resource"),
        reason=field("reason"),
        since_us=moment(field("since"), visit.now_us, "From"),
        until_us=moment(field("until"), visit.now_us, "Until"),
    )


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise not_understood("This is no number of a dead letter", "The list shows them.")
    return int(text)


def _row(stored: StoredLetter) -> LetterRow:
    letter = stored.letter
    return LetterRow(
        number=stored.number,
        died_at_us=letter.died_at_us,
        reason=letter.reason,
        attempts=letter.attempts,
        event_type=stored.event_type or "(not readable)",
        resource_key=stored.resource_key or words.NOTHING,
        connection=letter.connection,
        request_id=letter.request_id.hex() if letter.request_id else "",
        size=words.bytes_(len(letter.value or b"")),
    )
