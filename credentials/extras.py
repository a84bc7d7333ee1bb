"""The clients of remote backends are extras: loaded at the first use, missed with a useful word."""

from __future__ import annotations

import importlib
from typing import Any

from credentials.reference import Reference
from schemas.errors import SecretUnavailable


def client_module(name: str, extra: str, reference: Reference) -> Any:
    """The module `name`; SecretUnavailable, with the command that installs it, if it is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A module that is there and misses another is a fault to be seen, not an extra.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise SecretUnavailable(
            f"{reference} cannot be read: its backend's client ({name}) is not installed; run "
            f"pip install 'hookline[{extra}]'"
        ) from None
