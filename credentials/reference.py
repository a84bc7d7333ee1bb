"""What a secret's reference says: the backend's scheme, the place there, a key or stage within it.

A text that is no reference may be the secret itself, so no error here quotes what was written.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from schemas.errors import SecretReferenceError

MAX_REFERENCE_CHARS: Final = 1024


class _Form(NamedTuple):
    example: str
    pattern: re.Pattern[str]
    rule: str


# Capitals only for env: a lower-case word there is more often a token pasted by mistake than a
# variable, and later errors name the variable.
_FORMS: Final[dict[str, _Form]] = {
    "env": _Form(
        "env:ACME_GITHUB_SECRET",
        re.compile(r"(?P<locator>[A-Z_][A-Z0-9_]*)"),
        "an environment variable's name in capitals, digits and underscores",
    ),
    "file": _Form(
        "file:/run/secrets/acme-github",
        re.compile(r"(?P<locator>/(?!/)[^\0-\x1f\x7f]*[^\0-\x1f\x7f/])"),
        "a file's absolute path",
    ),
    "vault": _Form(
        "vault:secret/acme/github#signing-key",
        # No part may be . or .., which a client would take for the way to another path.
        re.compile(
            r"(?P<locator>(?!\.\.?[/#])[\w.-]+(?:/(?!\.\.?[/#])[\w.-]+)+)#(?P<key>[\w.-]+)",
            re.ASCII,
        ),
        "mount/path, then # and the key",
    ),
    "aws-sm": _Form(
        "aws-sm:acme/github#signing-key",
        # A name there may hold an @ and never a ?, so that a stage cannot be taken for one.
        re.compile(
            r"(?P<locator>[\w/+=.@:-]+)(?:\?stage=(?P<stage>[\w.-]+))?(?:#(?P<key>[\w.-]+))?",
            re.ASCII,
        ),
        "the secret's name or ARN, then ?stage=AWSPREVIOUS if that one is meant, then # and the "
        "key if its value is a JSON object",
    ),
    "azure-kv": _Form(
        "azure-kv:acme-vault/github-signing-key",
        re.compile(r"(?P<locator>[A-Za-z0-9-]+/[A-Za-z0-9-]+)(?P<key>)"),
        "vault/name",
    ),
    "sealed": _Form(
        "sealed:acme/acme-github/token",
        re.compile(r"(?P<locator>(?!\.\.?/)[a-z0-9._-]+(?:/(?!\.\.?(?:/|$))[a-z0-9._-]+){2,})"),
        "tenant/connection/field, in small letters, digits, dots, dashes and underscores",
    ),
}

SCHEMES: Final = tuple(_FORMS)


class Reference(msgspec.Struct, frozen=True):
    """A parsed reference; `key` and `stage` are empty where the scheme or the writer names none."""

    scheme: str
    locator: str
    key: str = ""
    stage: str = ""

    def __str__(self) -> str:
        stage = f"?stage={self.stage}" if self.stage else ""
        return f"{self.scheme}:{self.locator}{stage}" + (f"#{self.key}" if self.key else "")


def parse_reference(text: str) -> Reference:
    """The reference that `text` is; SecretReferenceError, which never quotes it, otherwise."""
    if len(text) > MAX_REFERENCE_CHARS:
        raise SecretReferenceError(
            f"a secret reference has at most {MAX_REFERENCE_CHARS} characters, this has "
            f"{len(text)}; {_how_to_write()}"
        )
    scheme, colon, rest = text.partition(":")
    form = _FORMS.get(scheme) if colon else None
    if form is None:
        meant = scheme.strip().lower()
        if colon and meant in _FORMS:
            raise SecretReferenceError(
                f"a secret reference starts with its scheme exactly: write {meant}: with no "
                f"capitals or spaces, as in {_FORMS[meant].example}"
            )
        raise SecretReferenceError(
            "this is not a secret reference (not shown, it may be the secret itself); "
            + _how_to_write()
        )
    match = form.pattern.fullmatch(rest)
    if match is None:
        raise SecretReferenceError(
            f"after {scheme}: comes {form.rule}, as in {form.example} (what is written there "
            "is not shown, it may be the secret itself)"
        )
    parts = match.groupdict()
    return Reference(scheme, parts["locator"], parts.get("key") or "", parts.get("stage") or "")


def _how_to_write() -> str:
    return (
        "put the secret into an environment variable and write env:NAME, or into a file and "
        "write file:/path (also known: "
        + ", ".join(f"{scheme}:" for scheme in SCHEMES if scheme not in ("env", "file"))
        + ")"
    )
