"""Asks systems whose addresses customers wrote. All that goes out to them goes through here.

A URL is taken apart once (`target`), its name resolved once, every address judged (`connecting`),
and the connection made to one of those. Each request has a connection of its own: what was judged
for one is never used for another. No proxy, no cookie, no `.netrc`: nothing of the environment
counts but the trusted authorities. Built on httpcore, which httpx stands on: httpx would take the
URL apart a second time, and follow redirects by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import httpcore

from producer.outgoing.answers import FailureKind, OutgoingAnswer, OutgoingFailure, Stage
from producer.outgoing.connecting import Connector, Doorman, broken, tls_context
from producer.outgoing.policy import OutgoingPolicy
from producer.outgoing.reading import Body, BoundedStream, too_large
from producer.outgoing.requests import Outgoing, outgoing, sent_on
from producer.outgoing.resolving import Resolve, SystemResolver
from producer.outgoing.target import Malformed, Target, parse, redirected

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
#: Of a body in tiny chunks, then others on the event loop have their turn: some 10 ms.
_PARTS_AT_ONCE: Final = 200
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

#: What a deadline says, by what was waited for.
_LATE: Final[dict[str, str]] = {
    "dns": "the name servers of {host} did not answer within {s:g} s: is the name right?",
    "connect": "{host} did not answer within {s:g} s; a firewall may keep our requests out",
    "tls": "{host} made no encrypted connection within {s:g} s: is the port right?",
    "answer": "{host} took the request and did not answer within {s:g} s: try again",
    "body": "{host} did not finish its answer within {s:g} s: try again",
}


class _Progress:
    """Where a request is, for what its deadline says and for who watches it."""

    def __init__(self, reached: Callable[[Stage], None]) -> None:
        self.step = "place"
        self.host = ""
        self.reached = reached


class OutgoingClient:
    """Requests within one policy. Belongs to one event loop."""

    def __init__(
        self,
        policy: OutgoingPolicy,
        resolve: Resolve | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Raises ConfigurationError where the policy names a network or a file that is none."""
        self._policy = policy
        self._clock_ns = clock
        self._doorman = Doorman(policy, resolve or SystemResolver())
        self._connector = Connector(tls_context(policy))
        self._short_names = bool(policy.allow_hosts or policy.allow_networks)
        self._places = asyncio.Semaphore(policy.max_concurrent)
        self._waiting = 0
        self._closed = False

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        content: bytes | None = None,
        timeout_s: float | None = None,
        on_stage: Callable[[Stage], None] | None = None,
    ) -> OutgoingAnswer:
        """The answer, whatever its status; redirects are followed.

        `headers` go to the origin of `url` only: a redirect to another one is asked without them,
        and content is not sent on to it. `timeout_s` bounds the whole, as `policy.timeout_s` does
        without it. `on_stage` is told on the event loop how far it has come; it must neither wait
        nor raise. Raises OutgoingFailure.
        """
        if self._closed:
            raise OutgoingFailure(FailureKind.BUSY, "this process is about to stop: try again")
        began_ns = self._clock_ns()
        progress = _Progress(on_stage or _nobody)
        seconds = self._policy.timeout_s if timeout_s is None else timeout_s
        try:
            target = parse(url, https_only=self._policy.https_only, short_names=self._short_names)
        except Malformed as error:
            raise OutgoingFailure(FailureKind.ADDRESS_MALFORMED, str(error), error.host) from None
        request = outgoing(method, headers, content, target.host)
        try:
            async with asyncio.timeout(seconds):
                await self._place()
                try:
                    status, answered, body, last = await self._follow(request, target, progress)
                finally:
                    self._places.release()
        except TimeoutError:
            raise _late(progress, seconds, target.host) from None
        return OutgoingAnswer(
            status=status,
            headers=answered,
            body=body,
            took_ms=(self._clock_ns() - began_ns) // 1_000_000,
            url=last.url,
        )

    async def close(self) -> None:
        """No more requests; those under way end by themselves, within their time."""
        self._closed = True

    async def _place(self) -> None:
        if self._places.locked() and self._waiting >= self._policy.max_waiting:
            raise _busy()
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1

    async def _follow(
        self, request: Outgoing, target: Target, progress: _Progress
    ) -> tuple[int, Mapping[str, str], bytes, Target]:
        followed = 0
        while True:
            try:
                status, answered, body = await self._exchange(request, target, progress)
            except OutgoingFailure as failure:
                if followed and failure.kind is FailureKind.ADDRESS_REFUSED:
                    raise OutgoingFailure(
                        failure.kind, f"the address sends on to another: {failure}", failure.host
                    ) from failure
                raise
            location = answered.get("location", "")
            if status not in _REDIRECTS or not location:
                return status, answered, body, target
            followed += 1
            if followed > self._policy.max_redirects:
                raise _redirect(target, "sends on again and again")
            try:
                following = redirected(
                    target,
                    location,
                    https_only=self._policy.https_only,
                    short_names=self._short_names,
                )
            except Malformed as error:
                raise _redirect(
                    target, f"sends on to an address that we do not ask: {error}"
                ) from None
            onward = sent_on(request, status, same_origin=following.origin == target.origin)
            if onward is None:
                raise _redirect(target, f"wants the request sent to {following.shown} instead")
            request, target = onward, following

    async def _exchange(
        self, request: Outgoing, target: Target, progress: _Progress
    ) -> tuple[int, Mapping[str, str], bytes]:
        progress.host, progress.step = target.host, "dns"
        addresses = await self._doorman.admitted(target)
        progress.reached(Stage.RESOLVED)
        progress.step = "connect"
        stream = await self._connector.tcp(target, addresses)
        progress.reached(Stage.CONNECTED)
        try:
            if target.scheme == "https":
                progress.step = "tls"
                stream = await self._connector.tls(target, stream)
            progress.reached(Stage.SECURED)
            bounded = BoundedStream(stream, target.host)
            progress.step = "answer"
            try:
                return await self._ask(request, target, bounded, progress)
            except httpcore.ProtocolError:
                # Not as its cause: the parser's text quotes what it could not read.
                if bounded.ended:
                    raise broken(target.host) from None
                raise OutgoingFailure(
                    FailureKind.NOT_HTTP,
                    f"what {target.host} answers is no HTTP that we understand: is the address "
                    "right?",
                    target.host,
                ) from None
            except (httpcore.NetworkError, OSError) as error:
                raise broken(target.host) from error
        finally:
            await stream.aclose()

    async def _ask(
        self, request: Outgoing, target: Target, bounded: BoundedStream, progress: _Progress
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection = httpcore.AsyncHTTP11Connection(
            origin=httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port),
            stream=bounded,
        )
        response = await connection.handle_async_request(
            httpcore.Request(
                request.method,
                httpcore.URL(
                    scheme=target.scheme, host=target.host, port=target.port, target=target.path
                ),
                headers=request.wire_headers(target),
                content=request.content,
            )
        )
        progress.step = "body"
        progress.reached(Stage.ANSWERING)
        answered = _joined(response.headers)
        if response.status in _REDIRECTS and "location" in answered:
            # Not read: nobody looks at it.
            return response.status, answered, b""
        if response.status == 101:
            raise OutgoingFailure(
                FailureKind.NOT_HTTP,
                f"{target.host} changes to a protocol that it was not asked for",
                target.host,
            )
        limit = self._policy.max_answer_bytes
        length = answered.get("content-length", "")
        if request.method != "HEAD" and length.isdecimal() and int(length) > limit:
            raise too_large(target.host)
        bounded.expect_body(limit)
        body = Body(answered, limit, target.host)
        async for part in response.aiter_stream():
            body.take(part)
            if body.parts % _PARTS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return response.status, answered, body.whole()


def _nobody(stage: Stage) -> None:
    """Watches."""


def _joined(headers: list[tuple[bytes, bytes]]) -> Mapping[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return MappingProxyType(joined)


def _late(progress: _Progress, seconds: float, host: str) -> OutgoingFailure:
    if progress.step == "place":
        return _busy()
    host = progress.host or host
    return OutgoingFailure(
        FailureKind.TIMEOUT, _LATE[progress.step].format(host=host, s=seconds), host
    )


def _busy() -> OutgoingFailure:
    return OutgoingFailure(
        FailureKind.BUSY, "too many systems are being asked at this moment: try again in a minute"
    )


def _redirect(target: Target, what: str) -> OutgoingFailure:
    return OutgoingFailure(
        FailureKind.REDIRECT,
        f"{target.shown} {what}: write the address at which the system itself answers",
        target.host,
    )
