"""Addresses in the settings: none shows a secret; one that is itself a secret is a reference."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from credentials.reference import SCHEMES, parse_reference
from credentials.resolver import Resolver
from schemas.errors import SecretError

#: In the names of a URL's query, without their punctuation; a file's path (sslkey) is none.
_SECRET_NAME: Final = re.compile(r"passw|passphrase|pwd|secret|token|credential|apikey|accesskey")
#: Whole names that an API takes its key or a signed address by.
_SECRET_NAMES: Final = frozenset({"key", "sig", "signature", "auth", "authorization", "jwt"})


def is_reference(text: str) -> bool:
    """Whether it names a secret; whether well is another question."""
    scheme, colon, rest = text.partition(":")
    # file:///path is a URL, and file:/path a reference.
    return bool(colon) and scheme in SCHEMES and not rest.startswith("//")


def secret_in_query(query: str, whole_names: bool = True) -> bool:
    """Whether a parameter's name says that its value is a secret; ValueError if it is no query."""
    names = [re.sub(r"[^a-z]", "", n.lower()) for n, _ in parse_qsl(query, keep_blank_values=True)]
    return any(_SECRET_NAME.search(n) or (whole_names and n in _SECRET_NAMES) for n in names)


def check_target(url: str) -> str:
    """An HTTP address or a reference to one; ValueError, which does not show it, otherwise."""
    if is_reference(url):
        try:
            parse_reference(url)
        except SecretError as error:
            raise ValueError(str(error)) from None
        return url
    try:
        parts = urlsplit(url)
        host, secret = parts.hostname, secret_in_query(parts.query)
    except ValueError:
        host, secret = None, False
    if host is None or parts.scheme not in ("http", "https"):
        raise ValueError("write an address such as https://host/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "there is a user or password in it; write it without (a token goes to bearer), or put "
            "the whole address where secrets are and write its reference, such as env:TARGET_URL"
        )
    if secret:
        raise ValueError(
            "there is a secret in its query: write it without and name the secret at bearer, which "
            "is sent in a header; if the target takes it in its address alone, put the whole "
            "address where secrets are and write its reference, such as env:TARGET_URL"
        )
    return url


def resolved(url: str, resolver: Resolver) -> str:
    """The address itself; SecretError if it is a reference whose secret cannot be had."""
    return resolver.resolve(url).reveal().strip() if is_reference(url) else url
