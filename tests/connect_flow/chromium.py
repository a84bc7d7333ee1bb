"""A browser for which the vendors are where they are."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from tests.parts.browser import browser
from tests.vendors.github import GitHub
from tests.vendors.shopify import Shopify
from tests.vendors.zendesk import Zendesk


def chromium_at_vendors() -> AbstractContextManager[Any]:
    """A running Chromium; PartMissing."""
    hosts = (*GitHub.hosts, *Shopify.hosts, *Zendesk.hosts)
    rules = ", ".join(f"MAP {host} 127.0.0.1" for host in hosts)
    return browser(f"--host-resolver-rules={rules}")
