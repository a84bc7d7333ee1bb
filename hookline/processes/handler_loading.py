"""Finds the registry of handlers that the configuration names as `module:name`."""

from __future__ import annotations

import importlib
import os
import sys

from consumer.handlers.registration import Handlers
from schemas.errors import ConfigurationError


def load_handlers(reference: str) -> Handlers:
    """The `Handlers` at `module:name`; modules beside hookline.yaml are found, too."""
    module_name, _, name = reference.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and not f"{module_name}.".startswith(f"{error.name}."):
            # The module is there; what it imports is not.
            raise
        raise ConfigurationError(
            f"consumer.handlers: there is no module {module_name!r} (looked in {os.getcwd()} and "
            "the installed packages); write module:name, such as examples.orders:handlers"
        ) from None
    found = getattr(module, name, None)
    if not isinstance(found, Handlers):
        registries = [key for key, value in vars(module).items() if isinstance(value, Handlers)]
        hint = f"; it has {', '.join(registries)}" if registries else ""
        raise ConfigurationError(
            f"consumer.handlers: {module_name} has no Handlers called {name!r}{hint}"
        )
    if not len(found):
        raise ConfigurationError(
            f"consumer.handlers: {reference} has no handler: register one with "
            '@handlers.on("github.issues.*")'
        )
    return found
