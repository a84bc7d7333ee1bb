"""What a customer types, also mistyped, and what must come first."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.connect.search import fits, search
from producer.connect.system import System
from producer.connect.systems import Catalogue

CATALOGUE = Catalogue.load()


def found(text: str, limit: int = 20) -> list[str]:
    return [system.id for system in search(CATALOGUE, text, limit)]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("github", "github"),
        ("git hub", "github"),
        ("GitHüb", "github"),
        ("gihtub", "github"),
        ("githb", "github"),
        ("shopfy", "shopify"),
        ("shoppify", "shopify"),
        ("myshopify", "shopify"),
        ("pagerduti", "pagerduty"),
        ("pager duty", "pagerduty"),
        ("zendsek", "zendesk"),
        ("zen", "zendesk"),
        ("strpe", "stripe"),
        ("payments", "stripe"),
        ("paymnet", "stripe"),
        ("pay", "stripe"),
        ("hub spot", "hubspot"),
        ("crm", "hubspot"),
        ("jria", "jira"),
        ("atlassian", "jira"),
        ("sms", "twilio"),
        ("calender", "calendly"),
        ("appointment", "calendly"),
        ("survey", "typeform"),
        ("type form", "typeform"),
        ("slcak", "slack"),
        ("svix", "any-standard-webhooks"),
        ("whsec", "any-standard-webhooks"),
        ("hmac", "any-hmac-webhooks"),
        ("rest api", "any-rest-api"),
        ("issues github", "github"),
        ("github issues", "github"),
    ],
)
def test_what_is_meant_comes_first(text, first):
    assert found(text)[:1] == [first]


def test_a_kind_of_system_finds_all_of_it():
    assert set(found("ticket")[:2]) == {"jira", "zendesk"}
    assert set(found("issues")[:3]) == {"github", "gitlab", "jira"}
    assert found("git")[:2] == ["github", "gitlab"]


def test_named_systems_stand_before_those_for_any():
    ids = found("webhook")
    assert ids
    for text in ("s", "p", "t"):
        named = [one.startswith("any-") for one in found(text)[:2]]
        assert named == [False, False]


def test_what_fits_nothing_finds_nothing():
    assert found("xyzzy") == []
    assert found("github xyzzy") == []
    assert found("qqqqqqqq") == []


def test_three_letters_forgive_no_slip():
    assert "slack" not in found("sla_k"[:3].replace("l", "x"))
    assert fits("gti", "git") == 0


def test_nothing_typed_shows_all_in_order():
    assert found("", 100) == [system.id for system in CATALOGUE.all()]
    assert found("   ,.- ", 3) == [system.id for system in CATALOGUE.all()[:3]]


def test_the_limit_holds():
    assert len(found("a", 2)) == 2


@given(st.text(max_size=200))
def test_whatever_is_typed_is_answered(text):
    assert len(found(text, 5)) <= 5


def test_a_thousand_systems_are_looked_through_while_somebody_types():
    base = CATALOGUE.get("github").model_dump(by_alias=True)
    many = Catalogue(
        System.model_validate(base | {"id": f"s{n}", "name": f"System {n:x} {n * 7919 % 1009:x}"})
        for n in range(1000)
    )
    search(many, "warm", 5)
    began = time.perf_counter()
    for text in ("sistem", "systme 3e7", "github", "payments"):
        search(many, text, 20)
    # 0.15 s alone; far above, so that only another order of magnitude is seen.
    assert time.perf_counter() - began < 10
