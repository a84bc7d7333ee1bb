"""The providers there are. A new one is its module and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from producer.providers.github import GitHub
from producer.providers.hmac_signature import HmacSignature
from producer.providers.options import problems
from producer.providers.provider import Provider
from producer.providers.standard_webhooks import StandardWebhooks
from schemas.errors import ConfigurationError

PROVIDERS: Final[Mapping[str, type[Provider]]] = MappingProxyType(
    {
        GitHub.name: GitHub,
        HmacSignature.name: HmacSignature,
        StandardWebhooks.name: StandardWebhooks,
    }
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
