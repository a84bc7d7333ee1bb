"""Samples of every provider: `hookline send` signs them, and they are identified."""

import random

import pytest
import yaml

from hookline.commands.providers_docs import providers_page
from hookline.commands.samples import sample
from producer.providers.options import problems
from producer.providers.provider import Batch, Identity, Request, Verified
from producer.providers.registry import PROVIDERS, build
from tests.providers.http_request import NOW_S, PAYLOADS, RepeatableHeaders, key
from tests.providers.subjects import HUBSPOT_OPTIONS, TOKEN_OPTIONS, TWILIO_OPTIONS, WHSEC

OPTIONS = {
    "hmac": {"header": "X-Signature", **TOKEN_OPTIONS},
    "token": TOKEN_OPTIONS,
    "twilio": TWILIO_OPTIONS,
    "hubspot": HUBSPOT_OPTIONS,
}


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_sample_is_signed_believed_and_identified(name):
    provider = build(name, OPTIONS.get(name, {}))
    active = key(provider, WHSEC)
    seen = set()
    for seed in range(40):
        made = sample(name, random.Random(seed), NOW_S, entities=3)
        sent = provider.outgoing(
            made.body,
            active.material,
            event_id=made.event_id,
            event_type=made.event_type,
            now_s=NOW_S,
        )
        request = Request(RepeatableHeaders(sent.headers.items()), sent.body, sent.query)
        assert provider.verify(request, [active], NOW_S) == Verified("2026-11")
        found = provider.identify(request)
        identity = found.parts[0].identity if type(found) is Batch else found
        assert type(identity) is Identity
        assert identity.event_type.startswith(made.event_type)
        if name not in ("shopify", "twilio", "cloudevents", "calendly", "hubspot"):
            assert identity.event_id == made.event_id
        seen.add((identity.resource_type, identity.resource_id))
    # GitHub's samples have two repositories; a message of Twilio is an entity of its own.
    assert 2 <= len(seen) <= (40 if name == "twilio" else 6)


@pytest.mark.parametrize("name", PROVIDERS)
def test_there_are_payloads_of_every_provider(name):
    assert list((PAYLOADS / name).iterdir())


def test_the_page_of_providers_is_up_to_date():
    page = PAYLOADS.parents[1] / "docs" / "providers.md"
    assert page.read_text("utf-8") == providers_page(), "run: hookline config providers"


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_example_of_a_guide_is_one_that_works(name):
    guide = PROVIDERS[name].guide
    build(name, yaml.safe_load(guide.options) or {} if guide.options else {})
    fields = (guide.title, guide.scheme, guide.secret, guide.replay, guide.event_id, guide.resource)
    assert all(fields)
    assert guide.pages


@pytest.mark.parametrize("name", PROVIDERS)
def test_an_option_that_is_none_is_told_with_those_there_are(name):
    kind = PROVIDERS[name]
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        kind.Options.model_validate({**OPTIONS.get(name, {}), "nonsense": 1})
    (line,) = problems(caught.value, kind.Options, name)
    assert line.startswith("options.nonsense: provider")
    assert (sorted(kind.Options.model_fields) or ["none"])[0] in line


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("twilio", {}, "options.url: is needed; it is the public URL"),
        ("twilio", {"url": "hooks.example.com"}, "is no public URL"),
        ("twilio", {"url": "https://h.example.com:0/"}, "is no public URL"),
        ("twilio", {"url": "https://u:p@h.example.com/"}, "has a user, a query"),
        ("twilio", {"url": "https://h.example.com/?a=b"}, "the query is taken from each request"),
        ("hubspot", {}, "options.url: is needed; it is the public URL"),
        ("hubspot", {"url": "hooks.example.com"}, "is no public URL"),
        ("stripe", {"tolerance_s": 0}, "options.tolerance_s: input should be greater"),
        ("slack", {"tolerance_s": 10**6}, "options.tolerance_s: input should be less"),
        ("shopify", {"shop_domain": "https://a"}, "options.shop_domain: string should match"),
        ("meta", {"verify_token_secret": ""}, "options.verify_token_secret"),
        ("cloudevents", {"authentication": "basic"}, "'bearer' or 'hmac'"),
        ("cloudevents", {"version_attribute": "Seq-1"}, "options.version_attribute"),
        ("token", {**TOKEN_OPTIONS, "scheme": "header"}, "needs the name of the header"),
        ("token", {**TOKEN_OPTIONS, "header": "X-Key"}, "needs the name of the header"),
        ("token", {**TOKEN_OPTIONS, "event_id": "header:Authorization"}, "has the secret"),
    ],
)
def test_a_wrong_option_says_what_to_write(name, options, said):
    kind = PROVIDERS[name]
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        kind.Options.model_validate(options)
    assert said in "\n".join(problems(caught.value, kind.Options, name))
