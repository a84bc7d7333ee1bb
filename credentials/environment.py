"""`env:NAME`: a secret in an environment variable, as a container platform injects it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from credentials.reference import Reference
from credentials.secret import Secret
from schemas.errors import SecretUnavailable


class EnvironmentBackend:
    """Reads the variable each time; `environ` is the process's own unless given."""

    scheme = "env"

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def fetch(self, reference: Reference) -> Secret:
        """The variable's value; SecretUnavailable if it is unset, empty or not UTF-8."""
        value = self._environ.get(reference.locator)
        if value is None:
            raise SecretUnavailable(
                f"{reference} cannot be read: the environment variable {reference.locator} is "
                "not set; set it where this process is started"
            )
        if not value:
            raise SecretUnavailable(
                f"{reference} cannot be read: the environment variable {reference.locator} is "
                "empty; give it the secret's value"
            )
        # The interpreter turns bytes that are not UTF-8 into lone surrogates (PEP 383).
        if any("\udc80" <= character <= "\udcff" for character in value):
            raise SecretUnavailable(
                f"{reference} cannot be read: the environment variable {reference.locator} is "
                "not UTF-8 text; store binary secrets as base64"
            )
        return Secret(value)
