"""What an entry must hold to beyond its schema: templates that can be filled, options that its
provider takes, patterns that match their examples, secrets that are marked as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from producer.connect import templates
from producer.connect.located_yaml import Path_
from producer.connect.system import (
    ApiKey,
    Basic,
    Bearer,
    NoAuthorisation,
    OAuthClient,
    OAuthCode,
    Polling,
    SigningSecret,
    System,
    SystemField,
)
from producer.providers.registry import PROVIDERS, build
from schemas.errors import ConfigurationError

#: What Python's patterns have and a browser's do not (ECMA 262), or mean otherwise there.
_NOT_ECMA: Final = re.compile(r"\\[AZ]|\(\?P|\(\?[aiLmsux-]+[:)]|\(\?#|\(\?>|[*+?}]\+")
#: A repeated group that itself ends in a repetition can take for ever on a text that fails.
_EXPLOSIVE: Final = re.compile(r"[*+]\)+[*+{]")
_HOST: Final = re.compile(r"^https://[^/]*")
_SAMPLE: Final = "sample"


class Mistake(msgspec.Struct, frozen=True):
    """What is wrong, where, and what to write."""

    path: Path_
    text: str


def mistakes(system: System) -> list[Mistake]:
    """Every mistake of an entry that fits the schema; empty if it is good."""
    return [
        *_fields(system),
        *_authorisation(system),
        *_calls(system),
        *_validation(system),
        *_webhook(system),
        *_signing(system),
        *_rotation(system),
        *_polling(system),
    ]


def _located_fields(system: System) -> Iterator[tuple[Path_, SystemField]]:
    for number, field in enumerate(system.fields):
        yield ("fields", number), field
    for number, field in enumerate(system.webhook.registration.fields):
        yield ("webhook", "registration", "fields", number), field


def _fields(system: System) -> Iterator[Mistake]:
    for path, field in _located_fields(system):
        if (field.kind == "secret") != field.secret:
            yield Mistake(
                (*path, "secret"), "`kind: secret` and `secret: true` go together: write both"
            )
        if (field.kind == "choice") != bool(field.options):
            yield Mistake((*path, "kind"), "`kind: choice` and `options` go together: write both")
        if field.secret and field.default:
            yield Mistake((*path, "default"), "a secret has no default")
        if field.kind == "subdomain" and not field.pattern:
            yield Mistake((*path, "pattern"), "what becomes part of a host's name needs a pattern")
        yield from _pattern(path, field)


def _pattern(path: Path_, field: SystemField) -> Iterator[Mistake]:
    if not field.pattern:
        if field.mismatch:
            yield Mistake((*path, "mismatch"), "is never said: there is no pattern")
        return
    here = (*path, "pattern")
    if not field.mismatch:
        yield Mistake(here, "say in `mismatch` what is said where the pattern does not match")
    if _NOT_ECMA.search(field.pattern):
        yield Mistake(here, "has a form that browsers do not know")
        return
    if _EXPLOSIVE.search(field.pattern):
        yield Mistake(here, "repeats a repetition, which can take very long on a wrong text")
        return
    try:
        pattern = re.compile(field.pattern)
    except re.error as error:
        yield Mistake(here, f"is no pattern: {error.msg}")
        return
    for name, value in (("example", field.example), ("default", field.default)):
        if value and pattern.fullmatch(value) is None:
            yield Mistake((*path, name), "does not match the pattern")
    for number, option in enumerate(field.options):
        if pattern.fullmatch(option.value) is None:
            yield Mistake((*path, "options", number), "does not match the pattern")


def _authorisation(system: System) -> Iterator[Mistake]:
    secret = {field.id for field in system.all_fields() if field.secret}
    used: list[tuple[str, str]] = []
    how = system.authorisation
    if isinstance(how, ApiKey):
        used = [("value", how.value)]
    elif isinstance(how, Bearer):
        used = [("token", how.token)]
    elif isinstance(how, OAuthClient):
        used = [("client_secret", how.client_secret)]
        yield from _address(("authorisation", "token_url"), how.token_url, system)
    elif isinstance(how, Basic):
        # An API key as the user, without a password, is as common as a password.
        used = [("password", how.password if how.password else how.username)]
    elif isinstance(how, OAuthCode):
        for name in ("authorise_url", "token_url", "revoke_url"):
            url = getattr(how, name)
            if url is not None:
                yield from _address(("authorisation", name), url, system)
                yield from _for_ours(("authorisation", name), url, system)
        if (how.use == "header") != bool(how.header):
            yield Mistake(("authorisation", "header"), "`use: header` and `header` go together")
    for name, template in used:
        if not set(templates.names(template)) & secret:
            yield Mistake(
                ("authorisation", name), "names no field that is marked `secret: true`; mark it"
            )
    asked = isinstance(how, NoAuthorisation | OAuthCode)
    if not asked and not system.fields:
        yield Mistake(("fields",), "this authorisation needs fields for the credentials")


def _calls(system: System) -> Iterator[Mistake]:
    if system.base_url is not None:
        yield from _address(("base_url",), system.base_url, system)
    secret = {field.id for field in system.all_fields() if field.secret}
    for path, call in system.calls():
        if (call.url is None) == (call.path is None):
            yield Mistake(path, "write either `path`, behind base_url, or a whole `url`")
        elif call.path is not None and system.base_url is None:
            yield Mistake((*path, "path"), "there is no base_url that it could stand behind")
        elif call.path is not None and not call.path.startswith("/"):
            yield Mistake((*path, "path"), "must begin with /")
        if call.url is not None:
            yield from _address((*path, "url"), call.url, system)
        for part in ("url", "path"):
            if set(templates.names(getattr(call, part))) & (secret | {"signing_secret"}):
                yield Mistake((*path, part), "has a secret in a URL, which ends up in logs")
        if call.json_body is not None and call.form is not None:
            yield Mistake((*path, "form"), "a request has a body in `json` or in `form`")
        if call.method == "GET" and (call.json_body is not None or call.form is not None):
            yield Mistake((*path, "method"), "a GET has no body")
        for name in call.headers:
            if name.lower() in ("host", "content-length", "connection", "transfer-encoding"):
                yield Mistake((*path, "headers", name), "is set by the client itself")


def _address(path: Path_, template: str, system: System) -> Iterator[Mistake]:
    """Whoever chooses the host is sent the credentials, so each part of it must be bounded."""
    fields = {field.id: field for field in system.all_fields()}
    named = list(templates.names(template))
    if named and template.startswith(f"{{{named[0]}}}"):
        field = fields.get(named[0])
        if field is None or field.kind != "url":
            yield Mistake(path, f"begins with {{{named[0]}}}, which must be a field of kind url")
        return
    host = _HOST.match(template)
    if host is None:
        yield Mistake(path, "must begin with https://, or with a field of kind url")
        return
    for name in templates.names(host[0]):
        field = fields.get(name)
        if field is None or not (field.pattern or field.options):
            yield Mistake(path, f"{{{name}}} is in the host's name: it must have a pattern")


def _for_ours(path: Path_, template: str, system: System) -> Iterator[Mistake]:
    """Our own client's secret is sent there, so it is no host that a customer names: not as a
    whole, and not by how it ends, unless the entry lists them."""
    host = re.split(r"[/?#:]", template.partition("://")[2], maxsplit=1)[0]
    last = list(templates.names(host))[-1:] if host.endswith("}") or not host else []
    listed = {field.id for field in system.all_fields() if field.options}
    if not host or not set(last) <= listed:
        yield Mistake(path, "is at a host that the customer names, who would be sent our secret")


def _validation(system: System) -> Iterator[Mistake]:
    validation = system.validation
    if validation is None:
        if not isinstance(system.authorisation, NoAuthorisation):
            yield Mistake(("validation",), "credentials are asked for and never tried: write one")
        return
    if validation.scopes and not (
        validation.scopes_header or isinstance(system.authorisation, OAuthCode)
    ):
        yield Mistake(("validation", "scopes"), "nothing says which are granted: scopes_header")
    if not any(meaning.status in (401, "4xx") for meaning in validation.meanings):
        yield Mistake(
            ("validation", "meanings"), "say what a 401 means: it is what wrong credentials get"
        )


def _webhook(system: System) -> Iterator[Mistake]:
    webhook = system.webhook
    yield from _options(system)
    registration = webhook.registration
    path: Path_ = ("webhook", "registration")
    if registration.how == "api":
        if registration.call is None:
            yield Mistake((*path, "call"), "`how: api` needs the request")
        elif "webhook_url" not in set(templates.names(registration.call.model_dump())):
            yield Mistake((*path, "call"), "tells the system no {webhook_url}")
        if registration.remove is not None and registration.id is None:
            yield Mistake((*path, "id"), "`remove` needs the webhook's id: where it is")
    elif not registration.guidance:
        yield Mistake((*path, "guidance"), "say step by step what the customer does")
    test = webhook.test
    if (test.how == "api") != (test.call is not None):
        yield Mistake(("webhook", "test", "call"), "`how: api` and `call` go together")
    if test.how == "customer" and not test.guidance:
        yield Mistake(("webhook", "test", "guidance"), "say what makes the system send an event")


def _options(system: System) -> Iterator[Mistake]:
    path: Path_ = ("webhook", "options")
    if system.webhook.provider not in PROVIDERS:
        there = ", ".join(sorted(PROVIDERS))
        yield Mistake(("webhook", "provider"), f"there is no such provider; there are: {there}")
        return
    try:
        build(system.webhook.provider, templates.fill_all(system.webhook.options, sample(system)))
    except ConfigurationError as error:
        for problem in error.problems:
            yield Mistake(path, problem.removeprefix("options."))


def sample(system: System) -> dict[str, str]:
    """A value for each name that a template may have, as a customer might give it."""
    values = {
        "webhook_url": "https://hooks.example.com/webhooks/sample",
        "signing_secret": _SAMPLE,
        "connection": _SAMPLE,
        "webhook_id": _SAMPLE,
    }
    for field in system.all_fields():
        first = field.options[0].value if field.options else ""
        values[field.id] = field.example or field.default or first or _SAMPLE
    return values


def _signing(system: System) -> Iterator[Mistake]:
    secret = system.webhook.secret
    path: Path_ = ("webhook", "secret")
    yield from _signing_source(system, secret, path)
    if secret.source == "generated":
        registration = system.webhook.registration
        told = registration.call is not None and "signing_secret" in set(
            templates.names(registration.call.model_dump())
        )
        if registration.how == "api" and not told:
            yield Mistake(path, "is generated, and the registration does not tell {signing_secret}")


def _rotation(system: System) -> Iterator[Mistake]:
    registration, secret = system.webhook.registration, system.webhook.secret
    rotate = registration.rotate
    path: Path_ = ("webhook", "registration", "rotate")
    if rotate is None:
        return
    if registration.id is None:
        yield Mistake(path, "needs the webhook's id: where it is")
    told = "signing_secret" in set(templates.names(rotate.model_dump()))
    if secret.source == "generated":
        if not told:
            yield Mistake(path, "does not tell {signing_secret}")
        if rotate.pointer is not None:
            yield Mistake((*path, "pointer"), "is for a secret that the system makes")
    elif secret.source != "answer":
        yield Mistake(path, f"a secret from `{secret.source}` is not ours to change")
    else:
        if told:
            yield Mistake(path, "tells {signing_secret}, which the system makes")
        if rotate.pointer is None and secret.call is None:
            yield Mistake((*path, "pointer"), "say where the answer has the new secret")
        if registration.more_ids:
            yield Mistake(path, "several webhooks would have several secrets")


def _signing_source(system: System, secret: SigningSecret, path: Path_) -> Iterator[Mistake]:
    if (secret.source == "answer") != (secret.pointer is not None):
        yield Mistake((*path, "pointer"), "`source: answer` and `pointer` go together")
    if (secret.source == "field") != (secret.field is not None):
        yield Mistake((*path, "field"), "`source: field` and `field` go together")
    if secret.field is not None:
        found = [field for field in system.all_fields() if field.id == secret.field]
        if not found:
            yield Mistake((*path, "field"), "there is no such field")
        elif not found[0].secret:
            yield Mistake((*path, "field"), f"mark the field {secret.field} as `secret: true`")
    if secret.source == "app" and not isinstance(system.authorisation, OAuthCode):
        yield Mistake((*path, "source"), "`app` is our OAuth client's: there is none here")


def _polling(system: System) -> Iterator[Mistake]:
    polling: Polling | None = system.polling
    if polling is None:
        return
    if polling.cursor in ("timestamp", "id") and not polling.cursor_parameter:
        yield Mistake(("polling", "cursor_parameter"), f"a cursor by {polling.cursor} needs it")
    if polling.cursor == "token" and polling.next is None:
        yield Mistake(("polling", "next"), "a cursor by token needs where the token is")
    provider = system.webhook.provider
    if not polling.event_type.startswith(f"{provider}."):
        yield Mistake(
            ("polling", "event_type"),
            f"must begin with {provider}., as the events do that come by webhook",
        )
