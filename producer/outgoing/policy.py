"""What outgoing requests may do: bounds, and the exceptions that an operator makes."""

from __future__ import annotations

import msgspec

from producer.outgoing.addresses import Network, networks
from schemas.errors import ConfigurationError


class OutgoingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of each request, and what is excused for systems on the premises.

    `allow_networks`: CIDR networks whose addresses may be asked although they are not public.
    `allow_hosts`: names (`erp.corp.example`, or `*.corp.example` for all below) that may be at
    private, shared or loopback addresses, and at any port. Metadata services of clouds stay refused
    unless `allow_networks` has that one address.
    """

    allow_networks: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    https_only: bool = True
    #: Of the body, as it comes and inflated.
    max_answer_bytes: int = 1_048_576
    #: From the call to the last byte: waiting for a place, DNS, TLS, redirects, the body.
    timeout_s: float = 15.0
    max_redirects: int = 3
    #: Authorities (PEM) that are trusted besides the public ones.
    ca_file: str | None = None
    #: Requests, and so connections, at once; one more waits.
    max_concurrent: int = 32
    #: That wait for a place; one more fails at once.
    max_waiting: int = 256

    def networks(self) -> tuple[Network, ...]:
        """ConfigurationError where one is none."""
        try:
            return networks(self.allow_networks)
        except ValueError as error:
            raise ConfigurationError(
                f"outgoing.allow_networks: {error}; write a network such as 10.20.0.0/16"
            ) from None

    def allows_host(self, host: str) -> bool:
        """Whether `host` (lower case, no dot at its end) is on the list."""
        for pattern in self.allow_hosts:
            name = pattern.strip().lower().rstrip(".")
            if host == name or (name.startswith("*.") and host.endswith(name[1:])):
                return True
        return False
