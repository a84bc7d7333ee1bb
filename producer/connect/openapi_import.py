"""An entry of the catalogue from an OpenAPI document: complete and valid, to be looked through.

What the document does not say is asked of the customer, or said in the notes at the file's head.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import yaml

from producer.connect.openapi_authorisation import Authorised, authorised
from producer.connect.openapi_document import Document, Operation, clean, items, mapping
from producer.connect.openapi_webhooks import webhook
from producer.connect.systems import read_entry
from schemas.errors import ConfigurationError

#: Last segments of paths that tell whose the credentials are, best first.
_WHOSE: Final = (
    *("me", "whoami", "self", "user", "account", "profile", "current", "current_user"),
    *("current-user", "userinfo", "myself", "users/me", "viewer", "ping", "status"),
)
_ACCOUNT: Final = ("login", "email", "name", "username", "display_name", "displayName", "title")
_NOT_SLUG: Final = re.compile(r"[^a-z0-9]+")
_NOT_NAME: Final = re.compile(r"[^a-z0-9_]+")
_VARIABLE: Final = re.compile(r"\{([^{}]{1,80})\}")
_PATH: Final = re.compile(r"/[A-Za-z0-9._~/-]*")
_URL: Final = re.compile(r"https://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
_TEMPLATE_URL: Final = re.compile(
    r"https://[A-Za-z0-9.{}_-]{1,300}(:[0-9]{1,5})?(/[A-Za-z0-9._~/{}-]*)?"
)
_CATEGORY: Final = re.compile(r"[^\W\d_][^\W\d_ &-]{1,14}([ &-]+[^\W\d_]{1,15}){0,2}")
_MARKUP: Final = re.compile(r"<[^>]*>|\[([^\]]*)\]\([^)]*\)|[*_`#>|]+")
_COLOURS: Final = ("#1d4ed8", "#0f766e", "#7c3aed", "#b45309", "#be123c", "#475569")


class Imported(msgspec.Struct, frozen=True):
    """An entry as a file, and what somebody should look at."""

    system_id: str
    text: str
    notes: tuple[str, ...]


def import_openapi(text: str, name: str, system_id: str = "") -> Imported:
    """The entry of a document's text; ConfigurationError if it is no OpenAPI document."""
    document = Document.read(text, name)
    notes: list[str] = []
    info = mapping(document.root.get("info"))
    title = _title(clean(info.get("title"), 60), name)
    chosen = system_id or _slug(title)
    base_url, fields = _base_url(document, notes)
    proved = authorised(document, notes)
    fields += proved.fields
    validation = _validation(document, proved, fields, notes)
    entry: dict[str, Any] = {
        "id": chosen,
        "name": title,
        "about": _about(info, title),
        "aliases": _aliases(base_url),
        "categories": _categories(document),
        "logo": {
            "initials": _initials(title),
            "colour": _COLOURS[sum(map(ord, chosen)) % len(_COLOURS)],
        },
        "sources": [_source(document, base_url)],
        "minutes": 5,
        "base_url": base_url,
        "fields": fields,
        "guidance": _guidance(title, proved),
        "authorisation": proved.authorisation,
    }
    if validation is not None:
        entry["validation"] = validation
    entry["webhook"] = webhook(document, notes)
    notes.extend(f"{where} is elsewhere and was not fetched." for where in sorted(document.remote))
    made = _dumped(entry, notes)
    try:
        read_entry(made, f"{chosen}.yaml")
    except ConfigurationError as error:
        raise ConfigurationError(
            [f"{name}: no entry could be made of it", *error.problems[:10]]
        ) from None
    return Imported(chosen, made, tuple(notes))


def _dumped(entry: dict[str, Any], notes: list[str]) -> str:
    head = [
        "# Made by `hookline catalogue import`. Look it through, above all the texts for the",
        "# customer, then `hookline catalogue check`.",
        *(f"# - {clean(note, 300)}" for note in notes[:50]),
    ]
    body = yaml.safe_dump(entry, sort_keys=False, allow_unicode=True, width=100)
    return "\n".join(head) + "\n" + body


def _title(title: str, name: str) -> str:
    short = re.sub(r"(?i)\b(rest|web|http|public|open)?\s*api\b(\s*v?[0-9.]+)?$", "", title).strip()
    short = short.strip(" -:,|/")
    stem = clean(name.rpartition(".")[0].replace("-", " ").replace("_", " "), 60)
    return short or title or stem or "Imported system"


def _slug(title: str) -> str:
    return _NOT_SLUG.sub("-", title.lower()).strip("-")[:40].strip("-") or "imported"


def _about(info: dict[str, Any], title: str) -> str:
    plain = _MARKUP.sub(lambda found: found[1] or " ", str(info.get("description") or "")[:2000])
    sentence = re.split(r"(?<=[.!?])\s", clean(plain, 300), maxsplit=1)[0]
    return sentence or f"What happens in {title}."


def _aliases(base_url: str) -> list[str]:
    host = urlsplit(base_url).hostname or ""
    if "{" in base_url.partition("//")[2].partition("/")[0] or "." not in host:
        return []
    return [".".join(host.split(".")[-2:])]


def _categories(document: Document) -> list[str]:
    names = [
        clean(mapping(tag).get("name"), 30).lower() for tag in items(document.root.get("tags"))
    ]
    # "api20100401account" is a name for machines.
    words = [name for name in names if _CATEGORY.fullmatch(name)]
    return list(dict.fromkeys([*words[:4], "api"]))


def _initials(title: str) -> str:
    words = re.findall(r"[^\W_]+", title)
    letters = "".join(word[0] for word in words[:2]) if len(words) > 1 else "".join(words)[:2]
    return (letters or "?").upper()[:3]


def _source(document: Document, base_url: str) -> str:
    info = mapping(document.root.get("info"))
    for url in (
        mapping(document.root.get("externalDocs")).get("url"),
        mapping(info.get("contact")).get("url"),
        base_url,
    ):
        if isinstance(url, str) and _URL.fullmatch(url) and len(url) <= 500:
            return url
    return "https://spec.openapis.org/oas/latest.html"


def _base_url(document: Document, notes: list[str]) -> tuple[str, list[dict[str, Any]]]:
    url, variables = _server(document)
    if url.startswith("http://"):
        url = "https://" + url.removeprefix("http://")
        notes.append("The address was http://; credentials are sent over https:// alone.")
    url = url.rstrip("/")
    fields: list[dict[str, Any]] = []
    for name in dict.fromkeys(_VARIABLE.findall(url)):
        field = _variable(name, mapping(variables.get(name)))
        url = url.replace(f"{{{name}}}", f"{{{field['id']}}}")
        fields.append(field)
    ids = [field["id"] for field in fields]
    if _TEMPLATE_URL.fullmatch(url) and len(fields) <= 5 and len(ids) == len(set(ids)):
        return url, fields
    notes.append("The document does not say where the API is: the customer is asked.")
    return "{base_url}", [
        {
            "id": "base_url",
            "label": "Address of the API",
            "help": "It begins with https://. The system's documentation calls it base URL.",
            "example": "https://api.example.com/v1",
            "pattern": r"https://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]{0,200})?",
            "mismatch": "Write the address with https:// in front and without a question mark.",
            "kind": "url",
        }
    ]


def _server(document: Document) -> tuple[str, dict[str, Any]]:
    root = document.root
    if document.is_swagger:
        host = root.get("host")
        path = root.get("basePath") or ""
        if isinstance(host, str) and isinstance(path, str):
            return f"https://{host}{path}", {}
        return "", {}
    servers = [mapping(server) for server in items(root.get("servers"))[:20]]
    for server in servers:
        url = server.get("url")
        if isinstance(url, str) and url.startswith(("https://", "http://")) and len(url) < 1000:
            return url, mapping(server.get("variables"))
    return "", {}


def _variable(name: str, about: dict[str, Any]) -> dict[str, Any]:
    field_id = _NOT_NAME.sub("_", name.lower()).strip("_")[:36]
    if not field_id or not field_id[0].isalpha():
        field_id = f"v_{field_id}".strip("_")
    label = (
        clean(name.replace("_", " ").replace("-", " "), 40).capitalize() or "Part of the address"
    )
    choices = [
        value
        for value in items(about.get("enum"))[:50]
        if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,200}", value)
    ]
    field: dict[str, Any] = {"id": field_id, "label": label}
    if help_text := clean(about.get("description"), 300):
        field["help"] = help_text
    default = about.get("default")
    if choices:
        field["kind"] = "choice"
        field["options"] = [{"value": value, "label": value} for value in dict.fromkeys(choices)]
        if default in choices:
            field["default"] = default
        return field
    field["kind"] = "subdomain"
    field["pattern"] = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
    field["mismatch"] = "Write only letters, digits, dots and dashes."
    if isinstance(default, str) and re.fullmatch(field["pattern"], default):
        field["example"] = default
    return field


def _guidance(title: str, proved: Authorised) -> list[dict[str, str]]:
    return [
        {"text": f"Sign in to {title} with an account that may manage its API access."},
        *({"text": text} for text in proved.guidance),
    ]


def _validation(
    document: Document, proved: Authorised, fields: list[dict[str, Any]], notes: list[str]
) -> dict[str, Any] | None:
    if proved.authorisation["kind"] == "none":
        return None
    validation: dict[str, Any] = {"method": "GET"}
    found = _cheapest(document)
    if found is None:
        notes.append("No request without parameters was found to try: the customer is asked.")
        fields.append(
            {
                "id": "check_path",
                "label": "A page to try",
                "help": "What stands behind the address for something that may be read and that "
                "needs the credentials, such as me. It is only read.",
                "default": "me",
                "pattern": "[A-Za-z0-9_~-][A-Za-z0-9._~/-]{0,199}",
                "mismatch": "Write it without the first slash, such as me or users/me.",
            }
        )
        validation |= {"path": "/{check_path}", "ok": [200, 204]}
    else:
        notes.append(f"The credentials are tried with GET {clean(found.path, 200)}.")
        validation |= {"path": found.path, "ok": [200]}
        properties = document.properties(document.answer_schema(found))
        if "id" in properties:
            validation["present"] = ["/id"]
        account = next((name for name in _ACCOUNT if name in properties), None)
        if account is not None:
            validation["account"] = f"/{account}"
    validation["meanings"] = _MEANINGS
    return validation


def _cheapest(document: Document) -> Operation | None:
    """The GET without parameters that tells most likely whose the credentials are."""
    best: tuple[tuple[int, int], Operation] | None = None
    for operation in document.operations():
        if operation.method != "get" or not _PATH.fullmatch(operation.path):
            continue
        if operation.value.get("security") == [] or operation.value.get("deprecated") is True:
            continue
        if any(one.get("required") is True for one in operation.parameters):
            continue
        if len(operation.path) > 200:
            continue
        rank = (_rank(operation.path), len(operation.path))
        if best is None or rank < best[0]:
            best = (rank, operation)
    return None if best is None else best[1]


def _rank(path: str) -> int:
    last = path.rstrip("/").rsplit("/", 1)[-1].lower()
    for number, name in enumerate(_WHOSE):
        if path.lower().endswith(f"/{name}") and last == name.rsplit("/", 1)[-1]:
            return number
    return len(_WHOSE)


_MEANINGS: Final = [
    {
        "status": 401,
        "code": "credentials_wrong",
        "what": "The system does not accept these credentials.",
        "why": "They were not copied whole, have expired, or were withdrawn.",
        "next": "Make new ones with the steps beside the form and paste all of them.",
    },
    {
        "status": 403,
        "code": "not_allowed",
        "what": "The system knows you, but does not let you do this.",
        "why": "The credentials may do too little, or belong to somebody with fewer rights.",
        "next": "Give them the right to read, or have an administrator make them.",
    },
    {
        "status": 404,
        "code": "address_wrong",
        "what": "The system does not know this address.",
        "why": "The address is written differently, or is that of another account.",
        "next": "Compare the address with the one in your browser, or in the documentation.",
    },
    {
        "status": 429,
        "code": "rate_limited",
        "what": "The system answers no more requests for now.",
        "why": "Too many requests came within a short time.",
        "next": "Wait a minute and try again.",
    },
]
