"""A connection to one of a host's addresses, each of which was judged before the first is used.

The name is resolved once; what is connected to is the address that was judged, as a number, so that
a name server which answers differently the next time (DNS rebinding) is never asked again. The name
counts once more in TLS: as SNI, and as what the certificate must be for.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Final

import httpcore
import httpx

from producer.outgoing.addresses import MEANING, Address, Network, plain, refused
from producer.outgoing.answers import FailureKind, OutgoingFailure
from producer.outgoing.policy import OutgoingPolicy
from producer.outgoing.resolving import Resolve
from producer.outgoing.target import Target, port_refused
from schemas.errors import ConfigurationError

#: Of a name's addresses, how many are tried. All of them are judged.
_MAX_TRIED: Final = 4
#: For one address while there is another to try.
_CONNECT_S: Final = 4.0

#: OpenSSL's X509_V_ERR_… (verify(1), "Diagnostics").
_CERTIFICATE: Final[dict[int, str]] = {
    9: "is not valid yet",
    10: "has expired",
    18: "is self-signed, so that nobody vouches for it",
    19: "is signed by an authority that is not trusted",
    20: "is signed by an authority that is not trusted, or sent without its intermediate "
    "certificates",
    21: "is sent without its intermediate certificates",
    23: "is revoked",
    62: "is for another name",
    64: "is for another address",
}


def tls_context(policy: OutgoingPolicy) -> ssl.SSLContext:
    """Verifies always: the public authorities (or those of SSL_CERT_FILE and SSL_CERT_DIR) and
    `policy.ca_file`."""
    context = httpx.create_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if policy.ca_file is not None:
        try:
            context.load_verify_locations(cafile=policy.ca_file)
        except OSError as error:  # ssl.SSLError is one
            why = error.strerror or "it holds no certificate in PEM"
            raise ConfigurationError(
                f"outgoing.ca_file {policy.ca_file}: {why}; write the path of a file of "
                "certificates in PEM"
            ) from None
    return context


class Doorman:
    """Judges where a target leads. The only place that turns names into addresses."""

    def __init__(self, policy: OutgoingPolicy, resolve: Resolve) -> None:
        self._policy = policy
        self._allow: tuple[Network, ...] = policy.networks()
        self._resolve = resolve

    async def admitted(self, target: Target) -> list[Address]:
        """All addresses of the target, in the order to try them in, none of them refused.

        Raises OutgoingFailure: NAME_UNKNOWN, ADDRESS_REFUSED also where only one of several is
        refused, since the next answer of that name server may have it first.
        """
        on_premises = self._policy.allows_host(target.host)
        if not on_premises and (why := port_refused(target.port)) is not None:
            raise OutgoingFailure(FailureKind.ADDRESS_REFUSED, why, target.host)
        addresses = [target.address] if target.address is not None else await self._ask(target.host)
        for address in addresses:
            refusal = refused(address, allow=self._allow, on_premises=on_premises)
            if refusal is not None:
                raise OutgoingFailure(
                    FailureKind.ADDRESS_REFUSED,
                    f"{target.host} leads to an address that is {MEANING[refusal.range]}, where we "
                    "do not send requests: write the address at which the system is reached from "
                    "the internet",
                    target.host,
                )
        return [plain(address) for address in addresses]

    async def _ask(self, host: str) -> list[Address]:
        try:
            texts = await self._resolve(host)
            # What is no address (a zone is part of one) is a resolver's mistake, and none is used.
            addresses = [ip_address(text) for text in texts]
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise OutgoingFailure(
                    FailureKind.NAME_UNKNOWN,
                    f"the name servers of {host} do not answer now: try again in a minute, and "
                    "look whether the name is written right",
                    host,
                ) from error
            raise _unknown(host) from error
        except (OSError, ValueError) as error:
            raise _unknown(host) from error
        if not addresses:
            raise _unknown(host)
        return addresses


class Connector:
    """Opens connections to admitted addresses."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._backend = httpcore.AnyIOBackend()

    async def tcp(
        self, target: Target, addresses: Sequence[Address]
    ) -> httpcore.AsyncNetworkStream:
        """A TCP connection to the first address that takes one."""
        tried = addresses[:_MAX_TRIED]
        failure: Exception | None = None
        for number, address in enumerate(tried, 1):
            # A number: nothing is resolved here again.
            try:
                stream = await self._backend.connect_tcp(
                    str(address), target.port, timeout=_CONNECT_S if number < len(tried) else None
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout, OSError) as error:
                failure = error
                continue
            if not _is_peer(stream, address):
                await stream.aclose()
                raise OutgoingFailure(
                    FailureKind.ADDRESS_REFUSED,
                    f"the connection to {target.host} did not go where it was to go",
                    target.host,
                )
            return stream
        raise _not_connected(target, failure)

    async def tls(
        self, target: Target, stream: httpcore.AsyncNetworkStream
    ) -> httpcore.AsyncNetworkStream:
        """TLS over `stream`, with the certificate checked against the target's name."""
        try:
            return await stream.start_tls(self._context, server_hostname=target.host)
        except (httpcore.ConnectError, ssl.SSLError, OSError, ValueError) as error:
            raise _no_tls(target.host, error) from error


def _is_peer(stream: httpcore.AsyncNetworkStream, address: Address) -> bool:
    peer = stream.get_extra_info("server_addr")
    return peer is not None and plain(ip_address(str(peer[0]).partition("%")[0])) == address


def _unknown(host: str) -> OutgoingFailure:
    return OutgoingFailure(
        FailureKind.NAME_UNKNOWN,
        f"there is no {host} on the internet: look whether the name is written right",
        host,
    )


def _not_connected(target: Target, failure: Exception | None) -> OutgoingFailure:
    host = target.host
    causes = list(_causes(failure))
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return OutgoingFailure(
            FailureKind.CONNECTION_REFUSED,
            f"nothing answers at {host}, port {target.port}: is the address right, and is the "
            "system running?",
            host,
        )
    if any(isinstance(cause, httpcore.ConnectTimeout | TimeoutError) for cause in causes):
        return OutgoingFailure(
            FailureKind.TIMEOUT,
            f"{host} does not answer; a firewall may keep our requests out",
            host,
        )
    if any(isinstance(cause, ConnectionResetError | BrokenPipeError) for cause in causes):
        return broken(host)
    return OutgoingFailure(
        FailureKind.CONNECTION_REFUSED, f"{host} cannot be reached from here: try again", host
    )


def _no_tls(host: str, error: Exception) -> OutgoingFailure:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = _CERTIFICATE.get(cause.verify_code, "cannot be verified")
            return OutgoingFailure(
                FailureKind.CERTIFICATE,
                f"the certificate of {host} {why}: is the address right? If so, whoever runs the "
                "system must put its certificate in order",
                host,
            )
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            return OutgoingFailure(
                FailureKind.TLS,
                f"{host} does not make an encrypted connection (TLS 1.2 or newer) with us: is the "
                "port right?",
                host,
            )
    return broken(host)


def broken(host: str) -> OutgoingFailure:
    """The failure of a connection that the other side ended too early."""
    return OutgoingFailure(
        FailureKind.CONNECTION_BROKEN, f"{host} broke the connection off: try again", host
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while error is not None and seen < 10:
        yield error
        if isinstance(error, BaseExceptionGroup):
            yield from error.exceptions
        error, seen = error.__cause__ or error.__context__, seen + 1
