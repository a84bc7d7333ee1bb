"""The entries that come with Hookline: complete, true to their schema, plain for a customer."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from producer.connect import templates
from producer.connect.checking import sample
from producer.connect.entry_schema import FILE, schema_text
from producer.connect.system import (
    Call,
    NoAuthorisation,
    OAuthCode,
    Registration,
    System,
    Validation,
)
from producer.connect.systems import Catalogue
from producer.providers.registry import build

CATALOGUE = Catalogue.load()
SYSTEMS = CATALOGUE.all()
EVERY = pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.id)
ASKED = {
    *("github", "gitlab", "jira", "slack", "hubspot", "zendesk", "shopify", "stripe", "twilio"),
    *("pagerduty", "typeform", "calendly"),
    *("any-standard-webhooks", "any-hmac-webhooks", "any-rest-api"),
}
JARGON = re.compile(
    r"\b(endpoint|payload|HTTP|JSON|OAuth|HMAC|header|401|403|404|scope header|regex|TLS|URI)\b"
)


def test_all_that_were_asked_for_are_there():
    assert {system.id for system in SYSTEMS} >= ASKED


def test_what_is_for_any_system_stands_last():
    ids = [system.id for system in SYSTEMS]
    assert all(one.startswith("any-") for one in ids[-3:])
    assert ids[:-3] == sorted(ids[:-3], key=lambda one: CATALOGUE.get(one).name)


def test_the_published_schema_is_that_of_the_model():
    published = files("producer.connect").joinpath("catalogue", FILE).read_text("utf-8")
    assert published == schema_text(), (
        "run: hookline catalogue schema > producer/connect/catalogue/catalogue.schema.json"
    )


def test_the_schema_is_closed_and_says_what_is_needed():
    schema = json.loads(schema_text())
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) >= {"id", "name", "about", "sources", "authorisation", "webhook"}
    call = schema["$defs"]["Call"]
    assert "json" in call["properties"]
    assert "json_body" not in call["properties"]


def entries() -> list[tuple[str, Any]]:
    folder = files("producer.connect").joinpath("catalogue")
    return [
        (item.name, yaml.safe_load(item.read_text("utf-8")))
        for item in folder.iterdir()
        if item.name.endswith(".yaml")
    ]


def test_an_editor_finds_no_mistake_in_an_entry_by_the_published_schema():
    schema = json.loads(schema_text())
    validator = Draft202012Validator(schema)
    Draft202012Validator.check_schema(schema)
    assert len(entries()) == len(SYSTEMS)
    for name, entry in entries():
        assert [error.message for error in validator.iter_errors(entry)] == [], name


@pytest.mark.parametrize(
    "change",
    [
        {"nmae": "x"},
        {"logo": {"initials": "X", "colour": "red"}},
        {"sources": ["http://a.example"]},
        {"authorisation": {"kind": "bearer"}},
        {"minutes": 0},
    ],
)
def test_an_editor_finds_the_mistakes_that_the_model_finds(change):
    entry = {**entries()[0][1], **change}
    assert list(Draft202012Validator(json.loads(schema_text())).iter_errors(entry))
    with pytest.raises(ValidationError):
        System.model_validate(entry)


@EVERY
def test_the_provider_takes_its_options(system: System):
    provider = build(
        system.webhook.provider, templates.fill_all(system.webhook.options, sample(system))
    )
    generated = {"hex": "0f" * 32, "whsec": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    secret = generated.get(system.webhook.secret.format, "a secret of 16 or more")
    provider.load_key(secret)


@EVERY
def test_a_named_system_has_its_vendors_own_pages_and_its_own_provider(system: System):
    if system.id.startswith("any-"):
        return
    assert len(system.sources) >= 4
    assert all(_owner(system.id) in link.lower() for link in system.sources)
    assert system.webhook.provider == system.id


def _owner(system_id: str) -> str:
    return {"jira": "atlassian"}.get(system_id, system_id)


@EVERY
def test_wrong_credentials_and_too_many_requests_have_a_next_step(system: System):
    validation = system.validation
    if isinstance(system.authorisation, NoAuthorisation):
        assert validation is None
        return
    assert validation is not None
    assert {401, 429} <= {meaning.status for meaning in validation.meanings}
    # Slack answers 200 and says what is missing in the body.
    codes = {meaning.code for meaning in validation.meanings if meaning.status == 200}
    assert 403 in {meaning.status for meaning in validation.meanings} or "scope_missing" in codes
    assert any(meaning.status == 404 for meaning in validation.meanings) or not _in_url(system)


def _in_url(system: System) -> bool:
    assert system.validation is not None
    used = (system.base_url or "") + (system.validation.path or "")
    named = set(templates.names(used))
    return any(field.id in named and not field.options for field in system.fields)


@EVERY
def test_texts_are_for_people_who_are_no_engineers(system: System):
    registration = system.webhook.registration
    meanings = [*(system.validation.meanings if system.validation else ()), *registration.meanings]
    texts = [text for one in meanings for text in (one.what, one.why, one.next)]
    texts += [guide.text for guide in system.guidance]
    texts += [guide.text for guide in system.webhook.test.guidance]
    for text in texts:
        # Whoever connects "any system" reads that system's own documentation beside it.
        allowed = {"HMAC"} if system.id.startswith("any-") else set()
        # What stands in quotation marks is written so on the other system's page.
        found = set(JARGON.findall(re.sub(r'"[^"]*"', "", text))) - allowed
        assert not found, text
        assert text[-1] in '."', text
        assert "TODO" not in text


@EVERY
def test_a_meaning_is_told_once(system: System):
    registration = system.webhook.registration
    for meanings in (
        system.validation.meanings if system.validation else [],
        registration.meanings,
    ):
        conditions = [(one.status, one.contains.lower(), one.header.lower()) for one in meanings]
        assert len(conditions) == len(set(conditions))
        # The first that fits counts: one without a condition must stand behind those with.
        for number, (status, contains, header) in enumerate(conditions):
            if not contains and not header:
                assert all(later[0] != status for later in conditions[number + 1 :]), status


@EVERY
def test_a_field_says_where_it_is_found(system: System):
    for field in system.all_fields():
        assert field.help or field.kind == "choice", field.id
        if not field.options:
            assert field.pattern, field.id
        if field.secret:
            assert field.kind == "secret"


@EVERY
def test_a_pattern_is_quick_with_a_long_wrong_text(system: System):
    for field in system.all_fields():
        pattern = re.compile(field.pattern)
        for text in ("a" * 50_000, "a@" * 25_000, "/a" * 25_000, "https://" + "a." * 25_000 + "\n"):
            pattern.fullmatch(text)


@EVERY
def test_no_secret_is_in_an_example_or_a_url(system: System):
    secret = {field.id for field in system.all_fields() if field.secret}
    calls = [system.validation, system.webhook.registration.call, system.webhook.test.call]
    for call in calls:
        if isinstance(call, Call):
            assert not secret & set(templates.names([call.path, call.url]))


@EVERY
def test_polled_events_are_those_of_the_webhooks(system: System):
    if system.polling is None:
        return
    assert system.polling.event_type.startswith(f"{system.webhook.provider}.")
    assert system.webhook.registration.events


def test_scopes_of_which_one_is_enough():
    github = CATALOGUE.get("github")
    assert github is not None
    assert github.validation is not None
    assert github.validation.missing_scopes(["repo"]) == []
    assert github.validation.missing_scopes(["admin:repo_hook", "gist"]) == []
    assert github.validation.missing_scopes(["gist"]) == ["admin:repo_hook|write:repo_hook|repo"]


def test_several_webhooks_of_one_registration_are_all_known():
    shopify = CATALOGUE.get("shopify")
    assert shopify is not None
    answer = {
        "data": {
            name: {"webhookSubscription": {"id": f"gid://shopify/WebhookSubscription/{number}"}}
            for number, name in enumerate(("orders", "updates", "products", "customers"))
        }
    }
    assert shopify.webhook.registration.ids(answer) == [
        f"gid://shopify/WebhookSubscription/{number}" for number in range(4)
    ]


@pytest.mark.parametrize(
    ("system_id", "answer", "expected"),
    [
        ("github", {"id": 12345}, ["12345"]),
        ("jira", {"self": "https://n.atlassian.net/rest/webhooks/1.0/webhook/72"}, ["72"]),
        (
            "calendly",
            {"resource": {"uri": "https://api.calendly.com/webhook_subscriptions/A1"}},
            ["A1"],
        ),
        ("github", {"id": None}, []),
        ("github", {"id": True}, []),
        ("github", [], []),
        ("github", "text", []),
    ],
)
def test_a_webhooks_id_is_found_in_the_answer(system_id, answer, expected):
    registration: Registration = CATALOGUE.get(system_id).webhook.registration
    assert registration.ids(answer) == expected


def test_what_later_requests_need_is_kept_of_an_answer():
    validation: Validation = CATALOGUE.get("calendly").validation
    said = {"resource": {"uri": "https://u", "current_organization": "https://o", "name": "Noor"}}
    assert validation.kept(said) == {"user_uri": "https://u", "organization_uri": "https://o"}
    assert validation.kept({"resource": {"uri": 7}}) == {"user_uri": "7"}
    assert validation.kept(None) == {}


def test_shopify_asks_for_tokens_that_expire():
    authorisation = CATALOGUE.get("shopify").authorisation
    assert isinstance(authorisation, OAuthCode)
    assert authorisation.token_extra == {"expiring": "1"}


@pytest.mark.parametrize(
    ("system_id", "field_id", "good", "bad"),
    [
        (
            "github",
            "repository",
            ["northwind/shop", "a/.github"],
            ["northwind", "a/..", "a/b/c", "a/"],
        ),
        (
            "gitlab",
            "instance",
            ["https://gitlab.com", "https://git.acme.at/x"],
            ["http://a", "https://a?b"],
        ),
        ("shopify", "shop", ["northwind-tea"], ["northwind.myshopify.com", "-a", "a/b", ""]),
        ("zendesk", "subdomain", ["northwind"], ["a.zendesk.com", "evil.com/", "a@b"]),
        ("zendesk", "email", ["noor@northwind.example"], ["noor@a/token", "noor"]),
        ("stripe", "api_key", ["rk_live_51AbCdEfGh", "sk_test_51AbCdEfGh"], ["pk_live_51AbCdEfGh"]),
        ("twilio", "account_sid", ["AC" + "0" * 32], ["SK" + "0" * 32]),
        ("any-rest-api", "check_path", ["me", "users/me"], ["/me", "../x", "a?b", "//evil"]),
        (
            "any-rest-api",
            "base_url",
            ["https://api.a.at/v1"],
            ["http://a", "https://u:p@a", "https://a#b"],
        ),
    ],
)
def test_a_field_takes_what_is_one(system_id, field_id, good, bad):
    fields = {field.id: field for field in CATALOGUE.get(system_id).all_fields()}
    pattern = re.compile(fields[field_id].pattern)
    assert all(pattern.fullmatch(text) for text in good)
    assert not any(pattern.fullmatch(text) for text in bad)
