"""A failed request to the other system in the customer's words: no answer, a bad one, or a good
one that does not fit. An entry's own `meanings` come before ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from producer.connect.flow.state import Explanation
from producer.connect.system import Meaning, System
from producer.connect.templates import names
from producer.outgoing.answers import FailureKind

_FAILURES: Final[Mapping[FailureKind, tuple[str, str, str, str, bool]]] = {
    FailureKind.REQUEST_MALFORMED: (
        "credentials_malformed",
        "What you entered cannot be sent to {system}.",
        "There is a line break or another hidden character in it.",
        "Copy it again, in one piece.",
        False,
    ),
    FailureKind.BUSY: (
        "ours_busy",
        "We are looking at too many systems at once.",
        "Many people are connecting at the moment.",
        "Try again in a minute.",
        True,
    ),
    FailureKind.ADDRESS_MALFORMED: (
        "address_malformed",
        "This is not an address that can be opened.",
        "A character may be missing, or there is one too many.",
        "Open {system} in your browser and copy the address from there.",
        False,
    ),
    FailureKind.ADDRESS_REFUSED: (
        "address_refused",
        "We do not open the address {host}.",
        "It leads into a private network, or is not encrypted (https).",
        "Enter the address at which {system} is reached from the internet.",
        False,
    ),
    FailureKind.NAME_UNKNOWN: (
        "name_unknown",
        "There is no server called {host}.",
        "There may be a typing mistake in the address.",
        "Open {system} in your browser and compare the address, letter by letter.",
        False,
    ),
    FailureKind.CONNECTION_REFUSED: (
        "connection_refused",
        "{host} does not take connections.",
        "The system is switched off, or a firewall keeps us out.",
        "Open {system} in your browser. If it works there, ask who runs it to let us in.",
        True,
    ),
    FailureKind.CONNECTION_BROKEN: (
        "connection_broken",
        "{host} ended the connection before it had answered.",
        "The system may be overloaded, or a firewall keeps us out.",
        "Try again in a minute. If it stays so, ask who runs {system}.",
        True,
    ),
    FailureKind.CERTIFICATE: (
        "certificate",
        "We cannot be sure that {host} is what it says it is.",
        "Its certificate has expired, is for another name, or is one that nobody vouches for.",
        "Check the address. If it is right, ask who runs {system} to renew the certificate.",
        False,
    ),
    FailureKind.TLS: (
        "tls",
        "An encrypted connection to {host} did not come about.",
        "The server speaks no encryption that is safe today, or none at this address.",
        "Check the address. If it is right, ask who runs {system}.",
        False,
    ),
    FailureKind.TIMEOUT: (
        "timeout",
        "{host} did not answer in time.",
        "The system is slow at the moment, or a firewall swallows our requests.",
        "Try again in a minute. If it stays so, ask who runs {system} to let us in.",
        True,
    ),
    FailureKind.REDIRECT: (
        "redirect",
        "{host} sends us on to another address.",
        "The address may be an old one, or the one of the sign-in page.",
        "Open {system} in your browser, sign in, and copy the address that is shown then.",
        False,
    ),
    FailureKind.TOO_LARGE: (
        "too_large",
        "The answer of {host} is far larger than it should be.",
        "This is probably not the address of {system}.",
        "Check the address.",
        False,
    ),
    FailureKind.NOT_HTTP: (
        "not_http",
        "{host} answers in a way that we do not understand.",
        "This is probably not the address of {system}.",
        "Check the address.",
        False,
    ),
}


def failure(kind: FailureKind, host: str, system: System) -> Explanation:
    """Why there was no answer."""
    code, what, why, next_, retry = _FAILURES[kind]
    put = {"host": host[:100] or f"the address of {system.name}", "system": system.name}
    return Explanation(
        code=code,
        what=what.format(**put),
        why=why.format(**put),
        next=next_.format(**put),
        field=_field(kind, system),
        retry=retry,
    )


def _field(kind: FailureKind, system: System) -> str:
    if kind is FailureKind.BUSY:
        return ""
    malformed = kind is FailureKind.REQUEST_MALFORMED
    return credential_field(system) if malformed else address_field(system)


def meaning(
    meanings: Sequence[Meaning], status: int, headers: Mapping[str, str], body: bytes
) -> Meaning | None:
    """The first of an entry's meanings that fits an answer."""
    text = body[:100_000].decode("utf-8", "replace").casefold()
    for one in meanings:
        if isinstance(one.status, int) and one.status != status:
            continue
        if isinstance(one.status, str) and not one.status.startswith(str(status // 100)):
            continue
        if one.contains and one.contains.casefold() not in text:
            continue
        if one.header and one.header.lower() not in headers:
            continue
        return one
    return None


def answer(
    system: System,
    meanings: Sequence[Meaning],
    status: int,
    headers: Mapping[str, str],
    body: bytes,
) -> Explanation:
    """What a bad answer means."""
    found = meaning(meanings, status, headers, body)
    if found is not None:
        return Explanation(
            code=found.code,
            what=found.what,
            why=found.why,
            next=found.next,
            field=credential_field(system) if status in (401, 403) else "",
            retry=status == 429 or status >= 500,
        )
    return _status(system, status, headers)


def _status(system: System, status: int, headers: Mapping[str, str]) -> Explanation:
    name = system.name
    if status == 401:
        return Explanation(
            code="credentials_refused",
            what=f"{name} does not accept these credentials.",
            why="They may be mistyped, cut off when copied, expired, or withdrawn.",
            next="Make new ones as described above, copy them whole, and enter them again.",
            field=credential_field(system),
        )
    if status == 403:
        return Explanation(
            code="permission_missing",
            what=f"{name} knows you, and does not allow what is needed.",
            why="A permission is missing, or only an administrator has it.",
            next="Add the permissions named above, or ask an administrator to connect.",
            field=credential_field(system),
        )
    if status in (404, 410):
        return Explanation(
            code="not_found",
            what=f"There is no {name} at this address.",
            why="The address may be that of another page, or of another account.",
            next=f"Open {name} in your browser and copy the beginning of the address from there.",
            field=address_field(system),
        )
    if status == 429:
        wait = _retry_after(headers)
        return Explanation(
            code="rate_limited",
            what=f"{name} takes no more requests at the moment.",
            why="Your account has made many requests in a short time.",
            next=f"Wait {wait} and try again.",
            retry=True,
        )
    if status >= 500:
        return Explanation(
            code="system_failing",
            what=f"{name} has a problem of its own at the moment.",
            why="It says so in its answer; what you entered may be right.",
            next="Try again in a few minutes.",
            retry=True,
        )
    return Explanation(
        code="answer_unexpected",
        what=f"{name} gave an answer that we did not expect ({status}).",
        why="The address may be that of another system, or what you entered is not complete.",
        next="Check what you entered, then try again.",
        field=address_field(system),
        retry=True,
    )


def not_its_answer(system: System) -> Explanation:
    """A good status, and not what the system would say."""
    return Explanation(
        code="not_the_system",
        what=f"What answers at this address is not {system.name}.",
        why="It may be a sign-in page, or the page of another product.",
        next=f"Open {system.name} in your browser and copy the address from there.",
        field=address_field(system),
    )


def missing_scopes(system: System, missing: Sequence[str]) -> Explanation:
    """The credentials are good, and not for all that is needed."""
    listed = ", ".join(one.replace("|", " or ") for one in missing)
    return Explanation(
        code="scopes_missing",
        what=f"These credentials lack permission: {listed}.",
        why="Not everything was ticked when they were made.",
        next=f"Add {listed} in {system.name}, or make new credentials with it.",
        field=credential_field(system),
    )


def clock_skew(system: System, seconds: float) -> Explanation:
    """The two clocks differ so much that signatures would be refused."""
    minutes = max(1, round(abs(seconds) / 60))
    direction = "ahead of" if seconds > 0 else "behind"
    return Explanation(
        code="clock_skew",
        what=f"The clock of {system.name} is {minutes} min {direction} ours.",
        why="Events are signed with the time, and one that is too old or too new is refused.",
        next=f"Ask who runs {system.name} to set its clock (NTP), then try again.",
        retry=True,
    )


def address_field(system: System) -> str:
    """The field that says where the system is; empty if it is everywhere the same."""
    named = set(names(system.base_url or ""))
    if system.validation is not None:
        named |= set(names(system.validation.url or ""))
    for field in system.all_fields():
        if field.id in named and field.kind in ("url", "subdomain"):
            return field.id
    return next((field.id for field in system.all_fields() if field.id in named), "")


def credential_field(system: System) -> str:
    """The secret that the system is asked with; empty with OAuth."""
    named = set(names(system.authorisation.model_dump(mode="json")))
    return next((f.id for f in system.all_fields() if f.secret and f.id in named), "")


def _retry_after(headers: Mapping[str, str]) -> str:
    text = headers.get("retry-after", "")
    if text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= 86_400:
        seconds = int(text[:6])
        return f"{seconds} seconds" if seconds < 120 else f"{-(-seconds // 60)} minutes"
    return "a minute or two"
