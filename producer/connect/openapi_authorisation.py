"""How a document's API wants to be asked: the way that costs the customer least, and its fields."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from producer.connect.openapi_document import Document, clean, items, mapping

_HTTPS: Final = re.compile(r"https://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,100}")
_QUERY: Final = re.compile(r"[A-Za-z0-9_.\[\]-]{1,100}")
#: "with format `Token token=<API_KEY>`".
_FORM: Final = re.compile(r"format:?\s*[`'\"]?([A-Za-z][A-Za-z0-9_ =-]{0,40}?[ =])[<(\[]")
_SECRET: Final = "[!-~]{4,4000}"
_MISMATCH: Final = "Copy all of it, without spaces."


class Authorised(msgspec.Struct, frozen=True):
    """The entry's `authorisation`, the fields that it needs and what the customer does."""

    authorisation: dict[str, Any]
    fields: list[dict[str, Any]]
    guidance: tuple[str, ...] = ()


def authorised(document: Document, notes: list[str]) -> Authorised:
    """The best of the document's security schemes; none, where it names none that we know."""
    schemes = document.security_schemes()
    wanted = _wanted(document)
    ordered = [schemes[name] for name in wanted if name in schemes] or list(schemes.values())
    for make in _BEST_FIRST:
        for scheme in ordered:
            made = make(scheme)
            if made is not None:
                return made
    if schemes:
        notes.append("None of its ways to prove who asks is known here: nothing is asked for.")
    else:
        notes.append("The document says nothing of how to prove who asks.")
    return Authorised({"kind": "none"}, [])


def _wanted(document: Document) -> list[str]:
    """The names in `security`, of the whole document."""
    named = [str(name) for one in items(document.root.get("security")) for name in mapping(one)]
    return list(dict.fromkeys(named))


def _secret(field_id: str, label: str, help_text: str) -> dict[str, Any]:
    return {
        "id": field_id,
        "label": label,
        "help": help_text,
        "pattern": _SECRET,
        "mismatch": _MISMATCH,
        "kind": "secret",
        "secret": True,
    }


_MAKE_TOKEN: Final = (
    'Open the page for API tokens or keys there, often under "Settings", "API" or "Developers".',
    "Make a new one, write what it is for, and let it do as little as is needed: reading, and "
    "managing webhooks if there is such a choice.",
    "Copy it into this form at once; most systems show it only once.",
)


def _bearer(scheme: dict[str, Any]) -> Authorised | None:
    if scheme.get("type") != "http" or str(scheme.get("scheme")).lower() != "bearer":
        return None
    field = _secret("token", "API token", _help(scheme, "The other system shows it once."))
    return Authorised({"kind": "bearer", "token": "{token}"}, [field], _MAKE_TOKEN)


def _api_key(scheme: dict[str, Any]) -> Authorised | None:
    place, name = scheme.get("in"), scheme.get("name")
    if scheme.get("type") != "apiKey" or place not in ("header", "query"):
        return None
    if not isinstance(name, str) or not (_HEADER if place == "header" else _QUERY).fullmatch(name):
        return None
    # An "api key" named Authorization is mostly a bearer token, and says so in its description.
    told = clean(scheme.get("description"), 600)
    value = "{api_key}"
    if name.lower() == "authorization":
        form = _FORM.search(told)
        if form is not None:
            value = form[1] + value
        elif "bearer" in told.lower():
            value = "Bearer {api_key}"
    field = _secret("api_key", "API key", _help(scheme, "The other system shows it once."))
    authorisation = {"kind": "api_key", "place": place, "name": name, "value": value}
    return Authorised(authorisation, [field], _MAKE_TOKEN)


def _basic(scheme: dict[str, Any]) -> Authorised | None:
    is_basic = scheme.get("type") == "basic" or (
        scheme.get("type") == "http" and str(scheme.get("scheme")).lower() == "basic"
    )
    if not is_basic:
        return None
    fields = [
        {"id": "username", "label": "User name", "help": _help(scheme, "As you sign in there.")},
        _secret("password", "Password or API token", "Prefer a token that was made for this."),
    ]
    return Authorised(
        {"kind": "basic", "username": "{username}", "password": "{password}"}, fields, _MAKE_TOKEN
    )


def _flows(scheme: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if scheme.get("type") != "oauth2":
        return {}
    # Swagger 2 has one flow, in the scheme itself, under other names.
    named = {"accessCode": "authorizationCode", "application": "clientCredentials"}
    if isinstance(scheme.get("flow"), str):
        return {named.get(scheme["flow"], scheme["flow"]): scheme}
    return {str(name): mapping(flow) for name, flow in mapping(scheme.get("flows")).items()}


def _url(value: Any) -> str | None:
    return value if isinstance(value, str) and _HTTPS.fullmatch(value) else None


def _scopes(flow: dict[str, Any]) -> list[str]:
    names = [str(name) for name in mapping(flow.get("scopes"))]
    reading = [name for name in names if "read" in name.lower() or "webhook" in name.lower()]
    return [clean(name, 100) for name in reading[:20]]


def _client(scheme: dict[str, Any]) -> Authorised | None:
    flow = _flows(scheme).get("clientCredentials", {})
    token_url = _url(flow.get("tokenUrl"))
    if token_url is None:
        return None
    fields = [
        {"id": "client_id", "label": "Client ID", "help": "Shown with the client secret."},
        _secret("client_secret", "Client secret", "The other system shows it once."),
    ]
    authorisation = {
        "kind": "oauth2_client",
        "token_url": token_url,
        "client_id": "{client_id}",
        "client_secret": "{client_secret}",
        "scopes": _scopes(flow),
    }
    guidance = (
        'Open the page for applications or clients there, often under "API" or "Developers".',
        "Make a new client for machines (client credentials) that may do as little as is needed.",
        "Copy its ID and its secret into this form.",
    )
    return Authorised(authorisation, fields, guidance)


def _code(scheme: dict[str, Any]) -> Authorised | None:
    flow = _flows(scheme).get("authorizationCode", {})
    authorise_url, token_url = _url(flow.get("authorizationUrl")), _url(flow.get("tokenUrl"))
    if authorise_url is None or token_url is None:
        return None
    authorisation = {
        "kind": "oauth2_code",
        "authorise_url": authorise_url,
        "token_url": token_url,
        "scopes": _scopes(flow),
    }
    guidance = (
        'Press "Continue" here. The other system asks whether we may read your data: agree, and '
        "you come back by yourself.",
    )
    return Authorised(authorisation, [], guidance)


def _help(scheme: dict[str, Any], otherwise: str) -> str:
    told = clean(re.sub(r"<[^>]*>|[*_`#]+", " ", str(scheme.get("description") or "")[:1000]), 200)
    return told or otherwise


_BEST_FIRST: Final[tuple[Callable[[dict[str, Any]], Authorised | None], ...]] = (
    _bearer,
    _api_key,
    _basic,
    _client,
    _code,
)
