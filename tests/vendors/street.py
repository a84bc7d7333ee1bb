"""All the vendors at once, each at its own names, and a catalogue whose entries lead to them.

An entry is ours, word for word, but for the port behind its hosts; names are led to this machine by
`tests.vendors.named` in the process that asks, and by a rule of the browser's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.outgoing.certificates import Authority
from tests.vendors.delivery import Deliveries
from tests.vendors.github import GitHub
from tests.vendors.serving import Vendor
from tests.vendors.shopify import Shopify
from tests.vendors.zendesk import Zendesk

CATALOGUE: Final = Path(__file__).parents[2] / "producer" / "connect" / "catalogue"


class Street:
    """The vendors; `ports` is where hosts of ours lead, such as that of the gateway."""

    def __init__(self, folder: Path, ports: Mapping[str, int] | None = None) -> None:
        self.authority = Authority(folder)
        self.deliveries = Deliveries(self.authority.file, ports)
        self.github = GitHub(self.authority, self.deliveries)
        self.shopify = Shopify(self.authority, self.deliveries)
        self.zendesk = Zendesk(self.authority, self.deliveries)
        self.vendors: tuple[Vendor, ...] = (self.github, self.shopify, self.zendesk)
        self.hosts = tuple(host for vendor in self.vendors for host in vendor.hosts)

    def close(self) -> None:
        """End all."""
        self.deliveries.close()
        for vendor in self.vendors:
            vendor.close()

    def behave(self) -> None:
        """All as they should."""
        for vendor in self.vendors:
            vendor.behave()

    def catalogue(self, folder: Path) -> Path:
        """A folder of entries that lead here."""
        folder.mkdir(exist_ok=True)
        for vendor in self.vendors:
            text = (CATALOGUE / f"{vendor.system}.yaml").read_text()
            for host in vendor.hosts:
                pattern = re.escape(host).replace(r"\*", r"\{[a-z]+\}")
                at = rf"^(\s*(?:base_url|authorise_url|token_url): https://{pattern})"
                text, count = re.subn(at, rf"\g<1>:{vendor.port}", text, flags=re.MULTILINE)
                assert count, (vendor.system, host)
            (folder / f"{vendor.system}.yaml").write_text(text)
        return folder
