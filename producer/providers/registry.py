"""The providers there are. A new one is its module and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from producer.providers.calendly import Calendly
from producer.providers.cloudevents import CloudEvents
from producer.providers.github import GitHub
from producer.providers.gitlab import GitLab
from producer.providers.hmac_signature import HmacSignature
from producer.providers.hubspot import HubSpot
from producer.providers.jira import Jira
from producer.providers.meta import Meta
from producer.providers.microsoft_graph import MicrosoftGraph
from producer.providers.options import problems
from producer.providers.pagerduty import PagerDuty
from producer.providers.provider import Provider
from producer.providers.secret_token import SecretToken
from producer.providers.shopify import Shopify
from producer.providers.slack import Slack
from producer.providers.standard_webhooks import StandardWebhooks
from producer.providers.stripe import Stripe
from producer.providers.twilio import Twilio
from producer.providers.typeform import Typeform
from producer.providers.zendesk import Zendesk
from schemas.errors import ConfigurationError

_KINDS: Final[tuple[type[Provider], ...]] = (
    Calendly,
    CloudEvents,
    GitHub,
    GitLab,
    HmacSignature,
    HubSpot,
    Jira,
    Meta,
    MicrosoftGraph,
    PagerDuty,
    SecretToken,
    Shopify,
    Slack,
    StandardWebhooks,
    Stripe,
    Twilio,
    Typeform,
    Zendesk,
)

PROVIDERS: Final[Mapping[str, type[Provider]]] = MappingProxyType(
    {kind.name: kind for kind in _KINDS}
)


def build(name: str, options: Mapping[str, Any]) -> Provider:
    """The provider with its options; ConfigurationError with a line for each mistake."""
    kind = PROVIDERS.get(name)
    if kind is None:
        there = ", ".join(sorted(PROVIDERS))
        raise ConfigurationError(f"there is no provider {name!r}; there are: {there}")
    try:
        checked = kind.Options.model_validate(dict(options))
    except ValidationError as error:
        raise ConfigurationError(problems(error, kind.Options, name)) from None
    return kind(checked)
