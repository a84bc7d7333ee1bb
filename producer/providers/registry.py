"""Every provider there is, a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from producer.providers.github import GitHub
from producer.providers.hmac_signature import HmacSignature
from producer.providers.provider import Provider
from producer.providers.standard_webhooks import StandardWebhooks
from schemas.errors import ConfigurationError

PROVIDERS: Final[Mapping[str, type[Provider]]] = {
    GitHub.name: GitHub,
    HmacSignature.name: HmacSignature,
    StandardWebhooks.name: StandardWebhooks,
}


def build(name: str, options: Mapping[str, Any]) -> Provider:
    """A provider with its options; ConfigurationError if there is none of that name.

    Raises pydantic's ValidationError for wrong options, which settings report by their lines.
    """
    provider = PROVIDERS.get(name)
    if provider is None:
        raise ConfigurationError(
            f"provider {name!r} is not known: write one of {', '.join(sorted(PROVIDERS))}"
        )
    return provider(provider.Options.model_validate(options))
