"""A webhook that the system may have made, though no answer said so."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from producer.connect.flow import inputs as i
from producer.connect.flow import machine
from producer.connect.flow.state import UNHEARD, Explanation, FlowState, Step
from producer.connect.system import Listing
from producer.connect.systems import Catalogue

CATALOGUE = Catalogue.load(None)
AT = i.At(now_us=100_000_000, session="s1", get=CATALOGUE.get)
LOST = Explanation(code="connection_broken", what="w", why="y", next="n", retry=True)
URL = "https://in.example.com/webhooks/acme"


def registering() -> FlowState:
    return FlowState(
        revision=9, seen=9, step=Step.REGISTER, system="github", connection_id="acme",
        validated=True, written=True, served=True, running="RegisterWebhook", running_since_us=1,
        run=9,
    )  # fmt: skip


def after(state: FlowState, given: i.Input) -> i.Moved:
    moved = machine.advance(state, given, AT)
    assert isinstance(moved, i.Moved)
    return moved


def test_it_is_remembered_until_it_was_looked_for() -> None:
    lost = after(registering(), i.Failed(run=9, explanation=LOST, unheard=True)).state
    assert lost.stray_webhooks == (UNHEARD,)
    assert not lost.registered
    # Looked for with nothing beside it: a webhook that is made meanwhile would be found and taken.
    tidied = after(lost, i.TidyUp())
    (effect,) = tidied.effects
    assert isinstance(effect, i.CleanUp)
    assert effect.blocking
    assert effect.webhooks == (UNHEARD,)
    gone = after(tidied.state, i.CleanedUp(run=tidied.state.run, webhooks=(UNHEARD,))).state
    assert gone.stray_webhooks == ()


def test_so_is_that_of_a_process_that_died() -> None:
    died = after(registering(), i.Interrupted()).state
    assert died.stray_webhooks == (UNHEARD,)
    assert died.problem is not None


def test_who_leaves_has_it_looked_for() -> None:
    lost = after(registering(), i.Failed(run=9, explanation=LOST, unheard=True)).state
    (effect,) = after(lost, i.Cancel()).effects
    assert isinstance(effect, i.CleanUp)
    assert UNHEARD in effect.webhooks


def test_a_system_that_refused_has_made_none() -> None:
    refused = after(registering(), i.Failed(run=9, explanation=LOST)).state
    assert refused.stray_webhooks == ()


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ([{"id": 7, "config": {"url": URL}}, {"id": 8, "config": {"url": f"{URL}-2"}}], ["7"]),
        ([], []),
        ([{"id": n, "config": {"url": URL}} for n in range(100)], ["0", "1", "2", "3", "4"]),
        ([{"id": None, "config": {"url": URL}}, 5, None, {"config": []}], []),
        ({"message": "no"}, None),
        (None, None),
    ],
)
def test_it_is_found_by_where_it_goes(answer: object, found: list[str] | None) -> None:
    github = CATALOGUE.get("github")
    assert github is not None
    listing = github.webhook.registration.find
    assert isinstance(listing, Listing)
    assert listing.ids(answer, URL) == found


def test_what_a_webhook_was_made_with_stays_until_it_is_gone() -> None:
    state = FlowState(
        revision=9, seen=9, step=Step.DETAILS, system="github", connection_id="acme",
        values={"repository": "northwind/shop"}, stray_webhooks=("7",),
    )  # fmt: skip
    same = i.Details(values={"repository": "northwind/shop"}, secret_fields=("token",))
    assert isinstance(machine.advance(state, same, AT), i.Moved)
    for given in (
        i.Details(values={"repository": "northwind/other"}),
        i.Details(values={}, elsewhere=True),
    ):
        answer = machine.advance(state, given, AT)
        assert isinstance(answer, i.Refused)
        assert answer.code == "busy"
    chosen = machine.advance(
        replace(state, step=Step.CHOOSE), i.Choose(system="zendesk", connection_id="z"), AT
    )
    assert isinstance(chosen, i.Refused)
