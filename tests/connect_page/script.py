"""The script's texts: systems, steps, checks, forms, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from producer.connect.flow.state import Check, Explanation, Step
from producer.connect.system import System
from producer.connect.view import FieldView, FormView, GuideView, OptionView, StepView

SIGNING_SECRET = "whsec_thesigningsecretthatispastedoverthere"
ARRIVED = "hookline.events/3/18204"
STEPS = (
    ("choose", "Choose"),
    ("details", "Details"),
    ("authorise", "Allow"),
    ("validate", "Check"),
    ("register", "Set up"),
    ("test", "First event"),
)
VALIDATE = (
    ("address", "The address is right"),
    ("dns", "The name is known"),
    ("tls", "The connection is encrypted"),
    ("reach", "The system answers"),
    ("credentials", "The token is accepted"),
    ("permissions", "The token may do what is needed"),
    ("clock", "Both clocks agree"),
)
BY_API = (("register", "The webhook is set up"), ("gateway", "We are ready to receive"))
BY_HAND = (("pasted", "The secret is stored"), ("gateway", "We are ready to receive"))
TEST = (("sent", "A test event was sent"), ("arrived", "It has arrived"))

FAILURES = {
    "bad": (
        "credentials",
        Explanation(
            code="unauthorised",
            what="GitHub did not accept the token.",
            why="It was probably not copied whole, or it has been revoked.",
            next="Make a new token with the guide beside the form, and paste it whole.",
            field="token",
            retry=False,
        ),
    ),
    "scope": (
        "permissions",
        Explanation(
            code="scope_missing",
            what="The token may not read webhooks.",
            why="The permission “Webhooks: read and write” (admin:repo_hook) was not ticked.",
            next="Open the token in GitHub, tick it, and try again.",
            field="token",
            retry=True,
        ),
    ),
    "slow": (
        "reach",
        Explanation(
            code="timeout",
            what="GitHub did not answer within 15 seconds.",
            why="It may be busy, or a firewall keeps us out.",
            next="Try again in a minute.",
            retry=True,
        ),
    ),
}


def _entry(
    system_id: str, name: str, about: str, initials: str, colour: str, **more: object
) -> System:
    return System.model_validate(
        {
            "id": system_id,
            "name": name,
            "about": about,
            "categories": ["test"],
            "logo": {"initials": initials, "colour": colour, **more},
            "sources": ["https://example.com/docs"],
            "authorisation": {"kind": "none"},
            "webhook": {
                "provider": "standard",
                "secret": {"source": "generated"},
                "registration": {"how": "manual"},
                "test": {"how": "customer"},
            },
        }
    )


SYSTEMS = (
    _entry(
        "github",
        "GitHub",
        "Pushes, pull requests and issues of your repositories.",
        "GH",
        "#24292f",
    ),
    _entry("gitlab", "GitLab", "Merge requests and pipelines.", "GL", "#e2432a"),
    _entry("hubspot", "HubSpot", "Contacts, companies and deals.", "HS", "#ff5c35"),
    _entry("jira", "Jira", "Issues and sprints of your projects.", "JI", "#1868db"),
    _entry("shopify", "Shopify", "Orders, products and customers of your shop.", "SH", "#5e8e3e"),
    _entry("slack", "Slack", "Messages and reactions.", "SL", "#4a154b"),
    _entry("stripe", "Stripe", "Payments, invoices and subscriptions.", "ST", "#635bff"),
    _entry("typeform", "Typeform", "Answers to your forms.", "TF", "#e8d96f"),
    _entry(
        "any-hmac",
        "Any system with HMAC webhooks",
        "Whatever signs its webhooks with a shared secret.",
        "?",
        "#4a5560",
        path="M4 12h6l2-6 3 12 2-6h3",
    ),
)


class FakeCatalogue:
    """See `Catalogue`."""

    def __init__(self, systems: Sequence[System]) -> None:
        self._systems = {one.id: one for one in systems}

    def get(self, system_id: str, /) -> System | None:
        return self._systems.get(system_id)

    def all(self) -> Sequence[System]:
        return list(self._systems.values())


def search(catalogue: object, text: str, limit: int) -> list[System]:
    """Those whose name has the text."""
    assert isinstance(catalogue, FakeCatalogue)
    return [one for one in catalogue.all() if text.lower() in one.name.lower()][:limit]


def form(
    system_id: str,
    evil: Callable[[str], str],
    values: Mapping[str, str] = {},
    mistakes: Mapping[str, str] = {},
    *,
    filled: bool = False,
) -> FormView:
    """A system's form; each of its texts is given to `evil` first."""
    fields = [
        replace(
            one,
            label=evil(one.label),
            help=evil(one.help),
            example=evil(one.example),
            mismatch=evil(one.mismatch),
            value="" if one.secret else values.get(one.id, ""),
            mistake=mistakes.get(one.id, ""),
            filled=one.secret and filled,
            options=tuple(replace(o, label=evil(o.label)) for o in one.options),
        )
        for one in FIELDS.get(system_id, FIELDS["github"])
    ]
    guides = GUIDANCE if system_id == "github" else GUIDANCE[:2]
    return FormView(
        fields=tuple(fields),
        guidance=tuple(replace(one, text=evil(one.text)) for one in guides),
        submit=evil("Check and continue"),
    )


def _field(field_id: str, label: str, **more: object) -> FieldView:
    blank = {"help": "", "example": "", "pattern": "", "mismatch": "", "kind": "text"}
    known = {"secret": False, "required": True}
    return FieldView(id=field_id, label=label, **blank | known | more)  # type: ignore[arg-type]


FIELDS = {
    "shopify": (
        _field(
            "shop",
            "Shop name",
            help="The part before .myshopify.com in your shop's address.",
            example="my-shop",
            pattern="[a-z0-9][a-z0-9-]*",
            mismatch="Only letters, digits and hyphens, such as my-shop.",
            kind="subdomain",
        ),
    ),
    "any-hmac": (_field("name", "Name", help="What you call this system.", example="Billing"),),
    "github": (
        _field(
            "url",
            "Repository",
            help="The address of the repository, as your browser shows it.",
            example="https://github.com/acme/shop",
            pattern="https://.+",
            mismatch="It must begin with https://.",
            kind="url",
        ),
        _field(
            "token",
            "Access token",
            help="A fine-grained token for this repository.",
            example="github_pat_11ABC…",
            kind="secret",
            secret=True,
        ),
        _field(
            "plan",
            "Plan",
            required=False,
            kind="choice",
            options=(
                OptionView(value="team", label="Team"),
                OptionView(value="free", label="Free"),
            ),
        ),
    ),
}
GUIDANCE = (
    GuideView(
        text="Open the page for new tokens.",
        link="https://github.com/settings/personal-access-tokens/new",
    ),
    GuideView(text="Choose “Only select repositories”, and your repository."),
    GuideView(text="Under “Repository permissions” set “Webhooks” to “Read and write”."),
    GuideView(text="Choose “Generate token”, copy it, and paste it here."),
)


def steps(current: str) -> tuple[StepView, ...]:
    """The steps above the form."""
    names = [name for name, _ in STEPS]
    at = names.index(current) if current else len(names)
    return tuple(
        StepView(id=i, title=t, state="done" if n < at else "current" if n == at else "todo")
        for n, (i, t) in enumerate(STEPS)
    )


def waiting(names: Sequence[tuple[str, str]]) -> tuple[Check, ...]:
    """Checks that have not begun."""
    return tuple(Check(id=i, title=t) for i, t in names)


assert [i for i, _ in STEPS] == [step.value for step in list(Step)[:6]]


DENIED = Explanation(
    code="denied",
    what="You did not allow access.",
    why="“Cancel” was chosen in the window of Shopify.",
    next="Try again, and choose “Install app” there.",
    retry=True,
)
