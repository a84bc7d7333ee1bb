"""What the catalogue says of one system: its entry, as a model. The published JSON Schema is made
from here.

Texts are for the customer, who is no engineer: what to click, what a failure means, what to do.
A template is a text with `{name}` in it, where a name is that of a field, or one of ours:
`webhook_url`, `signing_secret`, `connection`, `webhook_id`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from producer.connect.answered import at, last_segment, text_at

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
SystemId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=600, strip_whitespace=True)]
Template = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
Pointer = Annotated[str, StringConstraints(pattern=r"^(/[^/]+)+$", max_length=300)]
Link = Annotated[str, StringConstraints(pattern=r"^https://\S+$", max_length=500)]

#: What a template may name besides the entry's own fields.
OURS: Final = frozenset({"webhook_url", "signing_secret", "connection", "webhook_id"})
_NAMED: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
#: Webhooks that go to one connection's address.
_MAX_FOUND: Final = 5


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Logo(_Model):
    """Drawn by us, no trade mark's file: initials on a colour, or an SVG path in 24 by 24."""

    initials: Annotated[str, StringConstraints(min_length=1, max_length=3)]
    colour: Annotated[str, StringConstraints(pattern=r"^#[0-9a-f]{6}$")]
    path: Annotated[str, StringConstraints(pattern=r"^[MmLlHhVvCcSsQqTtAaZz0-9 ,.\-]+$")] | None = (
        None
    )


class Option(_Model):
    """One of a field's choices."""

    value: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    label: Text


class SystemField(_Model):
    """What the customer is asked for."""

    id: Name
    label: Text
    help: str = Field("", max_length=600, description="Where to find it, in one or two sentences.")
    example: str = Field("", max_length=200, description="Shown, never sent.")
    pattern: str = Field(
        "", max_length=300, description="What it must match as a whole (ECMA 262)."
    )
    mismatch: str = Field("", max_length=300, description="What is said where it does not match.")
    secret: bool = False
    required: bool = True
    default: str = ""
    options: list[Option] = Field([], max_length=50)
    kind: Literal["text", "url", "subdomain", "email", "secret", "choice"] = "text"
    trim: bool = Field(True, description="Spaces around it are taken away.")


class Guide(_Model):
    """One numbered thing that the customer does in the other system."""

    text: Text
    link: Link | None = None


class Meaning(_Model):
    """What an answer means to the customer. The first that fits counts."""

    status: int | Literal["4xx", "5xx"] | None = None
    contains: str = Field("", max_length=200, description="In the body, whatever its case.")
    header: str = Field("", max_length=100, description="A header that must be there.")
    code: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    what: Text
    why: Text
    next: Text


class Call(_Model):
    """A request to the system. Paths and values are templates; the authorisation is added."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: Template | None = Field(None, description="Whole; else base_url and path.")
    path: Template | None = None
    headers: dict[str, Template] = {}
    json_body: Any = Field(None, alias="json", description="Texts in it are templates.")
    form: dict[str, Template | list[Template]] | None = None
    ok: list[int] = Field([200], min_length=1)

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True
    )


class Validation(Call):
    """A cheap request that shows that the credentials work."""

    present: list[Pointer] = Field([], description="What a good answer has.")
    account: Pointer | None = Field(None, description="Whose account it is: shown to the customer.")
    keep: dict[Name, Pointer] = Field(
        {}, description="What of the answer later templates may name, such as an organisation's id."
    )
    scopes_header: str | None = Field(None, description="A header that lists the granted scopes.")
    scopes: list[str] = Field(
        [], description='Which of them are needed; "a|b" where either is enough.'
    )
    meanings: list[Meaning] = []
    clock: bool = Field(True, description="The answer's Date is compared with our clock.")

    def kept(self, answer: Any) -> dict[str, str]:
        """What of the answer's JSON later templates may name; what is not there is left out."""
        found = {name: text_at(answer, pointer) for name, pointer in self.keep.items()}
        return {name: text for name, text in found.items() if text}

    def missing_scopes(self, granted: Iterable[str]) -> list[str]:
        """Those of `scopes` that are not among the granted ones."""
        there = set(granted)
        return [wanted for wanted in self.scopes if there.isdisjoint(wanted.split("|"))]


class ApiKey(_Model):
    """A secret field in a header or the query."""

    kind: Literal["api_key"]
    place: Literal["header", "query"] = "header"
    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    value: Template = Field(description='Such as "{token}" or "Token token={token}".')


class Bearer(_Model):
    """`Authorization: Bearer`."""

    kind: Literal["bearer"]
    token: Template


class Basic(_Model):
    """`Authorization: Basic`."""

    kind: Literal["basic"]
    username: Template
    password: Annotated[str, StringConstraints(max_length=2_000)] = ""


class OAuthCode(_Model):
    """OAuth 2.0 authorisation code with PKCE. Our client's id and secret come from the settings."""

    kind: Literal["oauth2_code"]
    authorise_url: Template
    token_url: Template
    revoke_url: Template | None = None
    scopes: list[str] = []
    scope_separator: str = " "
    client_auth: Literal["body", "basic"] = "body"
    pkce: bool = True
    extra: dict[str, str] = Field({}, description="Further parameters of the authorisation URL.")
    token_extra: dict[str, str] = Field({}, description="Further ones of the token request.")
    token_body: Literal["form", "json"] = "form"
    use: Literal["bearer", "header"] = "bearer"
    header: str = Field("", description='For use "header": such as X-Shopify-Access-Token.')


class OAuthClient(_Model):
    """OAuth 2.0 client credentials, which are the customer's own: fields of the entry."""

    kind: Literal["oauth2_client"]
    token_url: Template
    client_id: Template
    client_secret: Template
    scopes: list[str] = []
    client_auth: Literal["body", "basic"] = "basic"


class NoAuthorisation(_Model):
    """Nothing is asked of the system."""

    kind: Literal["none"]


Authorisation = Annotated[
    ApiKey | Bearer | Basic | OAuthCode | OAuthClient | NoAuthorisation,
    Field(discriminator="kind"),
]


class SigningSecret(_Model):
    """Where the secret is from that signs the webhooks."""

    source: Literal["generated", "answer", "field", "app"] = Field(
        description="generated: by us, and given to the system; answer: in the answer to the "
        "registration, at `pointer`; field: the customer pastes it into the field `field`; app: "
        "our client's own, from the settings."
    )
    format: Literal["hex", "base64", "whsec", "text"] = "hex"
    pointer: Pointer | None = None
    call: Call | None = Field(None, description="Where a second request fetches it.")
    field: Name | None = None


class Rotation(Call):
    """Gives the system a new {signing_secret} for its {webhook_id}; or has it make one."""

    pointer: Pointer | None = Field(
        None,
        description="Where the answer has the new secret, if the system makes it; without it, "
        "`secret.call` is asked afterwards.",
    )


class Listing(Call):
    """Lists the webhooks that there are: to find one again whose registration got no answer."""

    items: Pointer | None = Field(None, description="Where the list is; without it, the whole.")
    item_id: Pointer = Field(description="Of its id; of a URL, its last segment.")
    item_url: Pointer = Field(description="Of where it sends its webhooks.")

    def ids(self, answer: Any, webhook_url: str) -> list[str] | None:
        """Those of the webhooks that go there, at most a few: more are not ours. None where the
        answer has no list."""
        found = answer if self.items is None else at(answer, self.items)
        if not isinstance(found, list):
            return None
        ids = [
            last_segment(text_at(item, self.item_id))
            for item in found
            if text_at(item, self.item_url) == webhook_url
        ]
        return [one for one in ids if one][:_MAX_FOUND]


class Registration(_Model):
    """How the system is told where its webhooks go."""

    how: Literal["api", "manual"]
    call: Call | None = None
    id: Pointer | None = Field(
        None, description="The webhook's id in the answer; of a URL, its last segment."
    )
    more_ids: list[Pointer] = Field(
        [], description="Where one request made several: `remove` is called for each of them."
    )
    events: list[str] = Field([], description="Which it will send, as its own names.")
    remove: Call | None = Field(None, description="Undoes it, with {webhook_id}.")
    find: Listing | None = Field(
        None, description="Finds a webhook again of which no id was heard."
    )
    rotate: Rotation | None = Field(
        None, description="Changes its signing secret, with {webhook_id}."
    )
    fields: list[SystemField] = Field([], description="What is asked in this step, if by hand.")
    guidance: list[Guide] = Field([], max_length=15)
    meanings: list[Meaning] = []

    def ids(self, answer: Any) -> list[str]:
        """The ids of the webhooks that were made, from the answer's JSON: those that are there."""
        pointers = [] if self.id is None else [self.id, *self.more_ids]
        found = [text_at(answer, pointer) for pointer in pointers]
        return [last_segment(text) for text in found if text]


class TestEvent(_Model):
    """How the last step gets a real event."""

    how: Literal["registration", "api", "customer"] = Field(
        description="registration: the system sends one when it is told the URL; api: by `call`; "
        "customer: somebody does what `guidance` says."
    )
    call: Call | None = None
    guidance: list[Guide] = Field([], max_length=10)
    optional: bool = Field(False, description="Connected also if none comes.")
    wait_s: int = Field(60, ge=5, le=1_800)


class Webhook(_Model):
    """How webhooks come about."""

    provider: Name
    options: dict[str, Any] = {}
    secret: SigningSecret
    registration: Registration
    test: TestEvent


class Polling(_Model):
    """How to ask for what webhooks missed."""

    call: Call
    cursor: Literal["timestamp", "id", "token", "link"]
    cursor_parameter: str = ""
    cursor_pointer: Pointer | None = None
    page_parameter: str = ""
    page_size: int = Field(100, ge=1, le=1_000)
    next: Pointer | None = Field(None, description="Where the next page's token or URL is.")
    items: Pointer | None = Field(None, description="Where the list is; without it, the whole.")
    item_id: Template = Field(
        description='A pointer into the item, or a text with pointers: "{/sid}:{/status}". The '
        "same as the event id that the provider's module finds."
    )
    item_version: Pointer | None = None
    item_time: Pointer | None = None
    event_type: Template = Field(description='May name pointers: "gitlab.issue.{/state}".')
    resource_type: str = Field("", description="May name pointers.")
    resource_id: Template | None = Field(None, description="As item_id.")
    interval_s: int = Field(300, ge=10, le=86_400)


class System(_Model):
    """One entry of the catalogue."""

    id: SystemId
    name: Annotated[str, StringConstraints(min_length=1, max_length=60)]
    about: Text
    aliases: list[str] = Field([], max_length=20)
    categories: list[str] = Field(min_length=1, max_length=6)
    logo: Logo
    sources: list[Link] = Field(min_length=1, description="The vendor's pages that this is from.")
    base_url: Template | None = None
    fields: list[SystemField] = Field([], max_length=12)
    guidance: list[Guide] = Field([], max_length=15)
    authorisation: Authorisation
    validation: Validation | None = None
    webhook: Webhook
    polling: Polling | None = None
    #: How long it takes, roughly.
    minutes: int = Field(3, ge=1, le=60)

    @model_validator(mode="after")
    def _fits_together(self) -> System:
        known = {field.id for field in self.all_fields()} | OURS
        if self.validation is not None:
            known |= set(self.validation.keep)
        for where, name in _names(self.model_dump(by_alias=True, mode="json"), ""):
            if name not in known and not where.startswith("/polling/event_type"):
                raise ValueError(f"{where}: {{{name}}} is no field of this entry, nor one of ours")
        ids = [field.id for field in self.all_fields()]
        if len(ids) != len(set(ids)):
            raise ValueError("two fields have the same id")
        return self

    def calls(self) -> Iterator[tuple[tuple[str, ...], Call]]:
        """Every request of this entry that is made with its credentials, and where it stands."""
        webhook = self.webhook
        registration = webhook.registration
        there: tuple[tuple[tuple[str, ...], Call | None], ...] = (
            (("validation",), self.validation),
            (("webhook", "registration", "call"), registration.call),
            (("webhook", "registration", "find"), registration.find),
            (("webhook", "registration", "remove"), registration.remove),
            (("webhook", "registration", "rotate"), registration.rotate),
            (("webhook", "secret", "call"), webhook.secret.call),
            (("webhook", "test", "call"), webhook.test.call),
            (("polling", "call"), self.polling.call if self.polling is not None else None),
        )
        yield from ((path, call) for path, call in there if call is not None)

    def all_fields(self) -> list[SystemField]:
        """Those of the first form and those that are asked when the webhook is registered."""
        return [*self.fields, *self.webhook.registration.fields]


def _names(value: Any, where: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        # A pattern's braces count repetitions; what is for reading has no template.
        reading = where.rsplit("/", 1)[-1] in ("pattern", "help", "text", "what", "why", "next")
        return (
            [] if reading or "/options/" in where else [(where, n) for n in _NAMED.findall(value)]
        )
    if isinstance(value, dict):
        return [one for key, v in value.items() for one in _names(v, f"{where}/{key}")]
    if isinstance(value, list):
        return [one for n, v in enumerate(value) for one in _names(v, f"{where}/{n}")]
    return []
