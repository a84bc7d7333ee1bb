"""Forwards events over HTTP: the payload as it came, signed, with an `Idempotency-Key`.

At least once: a crash after the answer and before the commit sends an event again, with the same
key. Nothing here puts a payload, a secret or more of a URL than its host into an error or a log.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import quote

import httpx
import msgspec
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from consumer.handlers.circuit import Circuit, CircuitPolicy, Permit, State, Wait
from consumer.handlers.http_answer import failure_of
from consumer.handlers.webhook_signature import WebhookSigner
from credentials.secret import Secret
from schemas.errors import ConfigurationError, RetryLater, SecretFormatError
from schemas.event import HEADER_EVENT_TYPE, Event

log = logging.getLogger("hookline.forward")

MAX_ANSWER_BYTES: Final = 64 * 1024
_KEEP_ALIVE_S: Final = 15.0
_CONTENT_TYPE: Final = re.compile(r"[\x21-\x7e]+/[\x20-\x7e]+")
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_READABLE: Final = "/:@!$&'()*+,;=?~ "
_propagator = TraceContextTextMapPropagator()

EventHandler = Callable[[Event], Awaitable[None]]


class ForwardLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one target. The time of a call begins once it has a connection's place."""

    connect_timeout_s: float = 2.0
    timeout_s: float = 10.0
    max_connections: int = 64
    #: A longer Retry-After is taken for this one.
    max_retry_after_s: float = 3600.0


class Target:
    """One address that events are forwarded to, with its connections and its circuit."""

    def __init__(
        self,
        url: str,
        *,
        secrets: Sequence[Secret] = (),
        bearer: Secret | None = None,
        limits: ForwardLimits | None = None,
        circuit: CircuitPolicy | None = None,
        proxy: str | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._url = _checked(url)
        #: What errors and logs call it: paths and queries of webhook addresses are often secret.
        self.name = f"{self._url.scheme}://{self._url.netloc.decode()}"
        self._signer = WebhookSigner(secrets)
        if bearer is not None and not _TOKEN.fullmatch(bearer.reveal()):
            raise SecretFormatError(
                f"the bearer token for {self.name} is empty or has spaces or other characters that "
                "a header cannot carry: is it the right secret?"
            )
        self._bearer = bearer
        self._limits = limits or ForwardLimits()
        self._circuit = Circuit(circuit or CircuitPolicy())
        self._proxy = proxy
        self._clock_s = clock_s
        self._wall_s = wall_s
        self._pool: _Pool | None = None
        self._tracer = trace.get_tracer("hookline.consumer")

    async def send(self, event: Event) -> None:
        """Forward one event; RetryLater or PermanentError, which say why, if it was not taken."""
        pool = self._pool_here()
        async with pool.places:
            # Asked for only now: those that waited for a place must see a circuit that opened.
            permit = self._circuit.ask(self._clock_s())
            if isinstance(permit, Wait):
                raise RetryLater(
                    f"{self.name} rests after failures (its circuit is {self._circuit.state})",
                    after_s=permit.after_s,
                )
            try:
                answer = await self._post(pool, event)
            except RetryLater:
                self._failed(permit, 0.0)
                raise
            except BaseException:
                self._circuit.unused(permit, self._clock_s())
                raise
            failure = failure_of(
                self.name,
                answer.status,
                answer.retry_after,
                self._wall_s(),
                self._limits.max_retry_after_s,
            )
            if isinstance(failure, RetryLater):
                self._failed(permit, failure.after_s or 0.0)
            else:
                # A target that refuses one event works.
                self._succeeded(permit)
            if failure is not None:
                raise failure

    async def close(self) -> None:
        """Close the connections; the next event opens new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.transport.aclose()

    def _pool_here(self) -> _Pool:
        loop = asyncio.get_running_loop()
        if self._pool is None or self._pool.loop is not loop:
            limits = self._limits
            # The transport alone, no client: that one would keep the target's cookies for the
            # next event and log whole URLs. Nor are proxies taken from the environment.
            transport = httpx.AsyncHTTPTransport(
                trust_env=False,
                proxy=self._proxy,
                limits=httpx.Limits(
                    max_connections=limits.max_connections,
                    max_keepalive_connections=limits.max_connections,
                    keepalive_expiry=_KEEP_ALIVE_S,
                ),
            )
            self._pool = _Pool(loop, transport, asyncio.Semaphore(limits.max_connections))
        return self._pool

    async def _post(self, pool: _Pool, event: Event) -> _Answer:
        current = trace.get_current_span()
        if not current.is_recording():
            return await self._exchange(pool, event)
        with self._tracer.start_as_current_span(
            "POST",
            kind=SpanKind.CLIENT,
            attributes={
                "http.request.method": "POST",
                "server.address": self._url.host,
                "server.port": self._url.port or (443 if self._url.scheme == "https" else 80),
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                answer = await self._exchange(pool, event)
            except Exception as error:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(Status(StatusCode.ERROR))
                raise
            span.set_attribute("http.response.status_code", answer.status)
            if answer.status >= 400:
                span.set_attribute("error.type", str(answer.status))
                span.set_status(Status(StatusCode.ERROR))
            return answer

    async def _exchange(self, pool: _Pool, event: Event) -> _Answer:
        limits = self._limits
        timeouts = {
            "connect": limits.connect_timeout_s,
            "read": limits.timeout_s,
            "write": limits.timeout_s,
            "pool": limits.timeout_s,
        }
        request = httpx.Request(
            "POST",
            self._url,
            headers=self._headers(event),
            content=event.payload,
            extensions={"timeout": timeouts},
        )
        answer: _Answer | None = None
        problem = ""
        try:
            async with asyncio.timeout(limits.timeout_s):
                response = await pool.transport.handle_async_request(request)
                answer = _Answer(response.status_code, response.headers.get("retry-after"))
                await _drain(response)
        except TimeoutError:
            problem = f"did not answer within {limits.timeout_s:g} s"
        except httpx.ConnectTimeout:
            problem = f"did not take the connection within {limits.connect_timeout_s:g} s"
        except httpx.TransportError as error:
            problem = f"could not be reached or broke off ({type(error).__name__})"
        if answer is not None:
            # Whatever became of its body: the status is the answer.
            return answer
        # Outside the except blocks: the original errors may quote the URL.
        raise RetryLater(f"{self.name} {problem}")

    def _headers(self, event: Event) -> dict[str, str]:
        key = event.idempotency_key
        content_type = event.content_type
        headers = {
            "user-agent": "hookline",
            "accept": "*/*",
            "content-type": content_type
            if _CONTENT_TYPE.fullmatch(content_type)
            else "application/octet-stream",
            "idempotency-key": key,
            "x-request-id": event.request_id.hex(),
            **event_headers(event),
            **self._signer.headers(key, event.payload, self._wall_s()),
        }
        if self._bearer is not None:
            headers["authorization"] = f"Bearer {self._bearer.reveal()}"
        _propagator.inject(headers)
        return headers

    def _failed(self, permit: Permit, rest_s: float) -> None:
        before = self._circuit.state
        self._circuit.failed(permit, self._clock_s(), rest_s)
        # Once an outage, not at each probe in vain.
        if before is State.CLOSED and self._circuit.state is State.OPEN:
            log.warning(
                "a target keeps failing: its events wait", extra={"data": {"target": self.name}}
            )

    def _succeeded(self, permit: Permit) -> None:
        before = self._circuit.state
        self._circuit.succeeded(permit)
        if self._circuit.state is not before:
            log.info("a target works again", extra={"data": {"target": self.name}})


def forward(
    url: str,
    *,
    secrets: Sequence[Secret | str] = (),
    bearer: Secret | str | None = None,
    limits: ForwardLimits | None = None,
    circuit: CircuitPolicy | None = None,
    proxy: str | None = None,
) -> EventHandler:
    """A handler that posts events to `url`: `handlers.on("github.*")(forward("https://…"))`.

    `secrets` (`whsec_…`) each sign by Standard Webhooks; `bearer` is sent as a bearer token.
    ConfigurationError or SecretFormatError for what cannot be used.
    """
    target = Target(
        url,
        secrets=[_as_secret(secret) for secret in secrets],
        bearer=None if bearer is None else _as_secret(bearer),
        limits=limits,
        circuit=circuit,
        proxy=proxy,
    )

    async def handler(event: Event) -> None:
        await target.send(event)

    handler.__qualname__ = f"forward[{target.name}]"
    return handler


def event_headers(event: Event) -> dict[str, str]:
    """What the envelope says, as headers; what is not printable ASCII is percent-encoded."""
    values = {
        HEADER_EVENT_TYPE: event.event_type,
        "hookline-event-id": event.event_id,
        "hookline-provider": event.provider,
        "hookline-tenant": event.tenant,
        "hookline-connection": event.connection,
        "hookline-environment": event.environment,
        "hookline-resource-key": event.resource_key,
        "hookline-resource-version": event.resource_version,
        "hookline-occurred-at": event.occurred_at,
        "hookline-received-at": event.received_at,
    }
    return {name: _text(value) for name, value in values.items() if value is not None}


class _Answer(msgspec.Struct, frozen=True):
    status: int
    retry_after: str | None


class _Pool(msgspec.Struct, frozen=True, eq=False):
    """The connections that belong to one event loop."""

    loop: asyncio.AbstractEventLoop
    transport: httpx.AsyncHTTPTransport
    places: asyncio.Semaphore


async def _drain(response: httpx.Response) -> None:
    """Read a short body, so that its connection can be used again; a long one ends it."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    read_bytes = 0
    try:
        async for chunk in response.stream:
            read_bytes += len(chunk)
            if read_bytes > MAX_ANSWER_BYTES:
                break
    finally:
        await response.stream.aclose()


def _checked(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = None
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigurationError("forward: its url is none; write one such as https://host/path")
    if parsed.userinfo:
        raise ConfigurationError(
            f"forward: the url of {parsed.host} has a user or password in it; write it without, "
            "and name the secret at `bearer` or `secrets`"
        )
    return parsed.copy_with(fragment=None)


def _text(value: str | int | datetime) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return quote(str(value), safe=_READABLE).strip()


def _as_secret(value: Secret | str) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)
