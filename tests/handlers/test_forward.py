"""Forwarding over HTTP, against a real server on loopback."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from msgspec.structs import replace
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from standardwebhooks import Webhook

from consumer.handlers.circuit import CircuitPolicy
from consumer.handlers.forward import MAX_ANSWER_BYTES, ForwardLimits, Target, forward
from consumer.handlers.http_answer import retry_after_s
from credentials.secret import Secret
from hookline import Event, Handlers, PermanentError, RetryLater
from hookline.testing import event
from schemas.errors import ConfigurationError, HandlerError, HooklineError, SecretFormatError
from tests.handlers.http_server import (
    Answer,
    HttpServer,
    drip,
    endless,
    http_server,
    reset,
    rubbish,
    silent,
    status,
)

OLD = "whsec_b2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQgb2xk"
NEW = "whsec_bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3"
PAYLOAD = b'{"id": 7,  "note": "canary-payload"}'
QUICK = ForwardLimits(connect_timeout_s=0.5, timeout_s=0.5, max_connections=4)
PATIENT = CircuitPolicy(consecutive_failures=10_000, failure_rate=1.0, window=10_000)


def an_event(**fields: object) -> Event:
    given = {"version": 4, "occurred_at_s": 1_795_510_800.25, **fields}
    return event("shop.order.paid", PAYLOAD, "order-7", event_id="evt_7", **given)  # type: ignore[arg-type]


def with_server(*answers: Answer) -> Callable[[Callable[[HttpServer], Awaitable[None]]], None]:
    def run(test: Callable[[HttpServer], Awaitable[None]]) -> None:
        async def inside() -> None:
            async with http_server(*answers) as server:
                await test(server)

        asyncio.run(inside())

    return run


async def failure(target: Target, sent: Event | None = None) -> HandlerError:
    with pytest.raises(HandlerError) as caught:
        await target.send(sent or an_event())
    return caught.value


def test_the_payload_arrives_as_it_came_with_its_key_and_what_the_envelope_says() -> None:
    sent = an_event(content_type="application/vnd.shop+json; charset=utf-8")

    @with_server()
    async def _(server: HttpServer) -> None:
        target = Target(server.url("/hook?token=t"), bearer=Secret("tok-1"))
        await target.send(sent)
        await target.close()
        (got,) = server.received
        assert got.line == "POST /hook?token=t HTTP/1.1"
        assert got.body == PAYLOAD
        expected = {
            "content-type": "application/vnd.shop+json; charset=utf-8",
            "idempotency-key": sent.idempotency_key,
            "x-request-id": sent.request_id.hex(),
            "authorization": "Bearer tok-1",
            "hookline-event-type": "shop.order.paid",
            "hookline-event-id": "evt_7",
            "hookline-provider": "shop",
            "hookline-tenant": "acme",
            "hookline-connection": "test",
            "hookline-environment": "test",
            "hookline-resource-key": "acme/test/order/order-7",
            "hookline-resource-version": "4",
            "hookline-occurred-at": "2026-11-24T09:00:00.250000Z",
            "hookline-received-at": "2026-11-24T09:00:00Z",
        }
        assert {name: got.headers.get(name) for name in expected} == expected
        assert "webhook-signature" not in got.headers
        assert "traceparent" not in got.headers


@pytest.mark.parametrize("receivers", [OLD, NEW])
def test_each_of_several_secrets_signs_so_that_the_receiver_can_change_its_own(
    receivers: str,
) -> None:
    @with_server()
    async def _(server: HttpServer) -> None:
        await forward(server.url(), secrets=[OLD, Secret(NEW)])(an_event())
        (got,) = server.received
        assert got.headers["webhook-id"] == an_event().idempotency_key
        assert got.headers["webhook-signature"].count("v1,") == 2
        assert Webhook(receivers).verify(got.body, got.headers)["id"] == 7


def test_what_a_header_cannot_carry_is_encoded_or_left_out() -> None:
    sent = replace(
        an_event(),
        resource_id="Zürich\r\nx: y %41 ",
        content_type="text/plain\r\nx-evil: 1",
        tenant="a b",
    )

    @with_server()
    async def _(server: HttpServer) -> None:
        await forward(server.url())(sent)
        (got,) = server.received
        assert got.headers["content-type"] == "application/octet-stream"
        assert "x-evil" not in got.headers
        key = got.headers["hookline-resource-key"]
        assert key == "a b/test/order/Z%C3%BCrich%0D%0Ax: y %2541"


def test_it_is_registered_like_any_handler_and_named_by_its_host_alone() -> None:
    handlers = Handlers()
    handlers.on("shop.order.*")(forward("https://hooks.example/services/capability?token=x"))
    (handler,) = handlers
    assert (handler.takes_transaction, handler.is_async) == (False, True)
    assert handler.name == "consumer.handlers.forward.forward[https://hooks.example]"


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_a_2xx_is_done(code: int) -> None:
    @with_server(status(code, b""))
    async def _(server: HttpServer) -> None:
        await forward(server.url())(an_event())


@pytest.mark.parametrize("code", [408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_what_may_pass_is_tried_again_and_retry_after_is_honoured(code: int) -> None:
    @with_server(status(code), status(code, retry_after="17"))
    async def _(server: HttpServer) -> None:
        target = Target(server.url(), circuit=PATIENT)
        for after_s in (None, 17.0):
            error = await failure(target)
            assert isinstance(error, RetryLater)
            assert error.after_s == after_s
            assert str(code) in str(error)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 409, 410, 413, 422, 451])
def test_a_refusal_is_permanent(code: int) -> None:
    @with_server(status(code))
    async def _(server: HttpServer) -> None:
        error = await failure(Target(server.url()))
        assert isinstance(error, PermanentError)
        assert str(code) in str(error)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_told(code: int) -> None:
    @with_server(status(code, location="/elsewhere"), status(200))
    async def _(server: HttpServer) -> None:
        error = await failure(Target(server.url()))
        assert isinstance(error, PermanentError)
        assert "redirect" in str(error)
        assert len(server.received) == 1


NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("99999", 3600.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        ("Tuesday, 24-Nov-26 09:01:30 GMT", 90.0),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("9" * 5000, None),
        ("soon", None),
        ("", None),
        ("Fri, 99 Foo 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_in_all_its_forms(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text, NOW.timestamp(), 3600.0) == seconds


@pytest.mark.parametrize("answer", [silent, reset, rubbish])
def test_a_target_that_does_not_answer_properly_is_tried_again(answer: Answer) -> None:
    @with_server(answer)
    async def _(server: HttpServer) -> None:
        error = await failure(Target(server.url(), limits=QUICK, circuit=PATIENT))
        assert isinstance(error, RetryLater)
        assert f"http://127.0.0.1:{server.port}" in str(error)


def test_a_port_where_nobody_listens_is_tried_again() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        error = asyncio.run(failure(Target(url, limits=QUICK)))
    assert isinstance(error, RetryLater)
    assert "could not be reached" in str(error)


@pytest.mark.parametrize("code", [200, 503])
def test_of_an_endless_answer_little_is_read(code: int) -> None:
    @with_server(endless(code), status(200))
    async def _(server: HttpServer) -> None:
        target = Target(server.url(), circuit=PATIENT)
        if code == 200:
            await target.send(an_event())
        else:
            assert isinstance(await failure(target), RetryLater)
        # Its connection is closed, and the next event gets another.
        await target.send(an_event())
        assert server.connections == 2
        assert MAX_ANSWER_BYTES < 1_000_000


def test_a_200_counts_though_its_body_never_comes() -> None:
    @with_server(drip)
    async def _(server: HttpServer) -> None:
        await forward(server.url(), limits=QUICK)(an_event())
        assert len(server.received) == 1


def test_connections_are_kept_and_bounded() -> None:
    @with_server()
    async def _(server: HttpServer) -> None:
        target = Target(server.url(), limits=QUICK)
        for _ in range(3):
            await asyncio.gather(*(target.send(an_event()) for _ in range(20)))
        assert len(server.received) == 60
        assert server.connections <= QUICK.max_connections
        await target.close()


def test_a_cookie_of_one_answer_is_not_sent_with_the_next_event() -> None:
    @with_server(status(200, set_cookie="who=first"))
    async def _(server: HttpServer) -> None:
        handler = forward(server.url())
        await handler(an_event())
        await handler(an_event())
        assert all("cookie" not in got.headers for got in server.received)


def test_it_works_on_another_event_loop_too() -> None:
    handlers: list[Callable[[Event], Awaitable[None]]] = []

    async def once() -> int:
        async with http_server() as server:
            target = Target(server.url())
            handlers.append(target.send)
            await target.send(an_event())
            return server.port

    asyncio.run(once())

    async def again() -> None:
        with pytest.raises(RetryLater):
            await handlers[0](an_event())

    asyncio.run(again())


def test_the_trace_goes_on_where_a_span_is_current() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    @with_server(status(503))
    async def _(server: HttpServer) -> None:
        target = Target(server.url("/secret-path?token=canary"))
        target._tracer = provider.get_tracer("test")
        with provider.get_tracer("test").start_as_current_span("process") as span:
            await failure(target)
            trace_id = f"{span.get_span_context().trace_id:032x}"
        (got,) = server.received
        client = exporter.get_finished_spans()[0]
        assert client.context is not None
        parent = f"00-{trace_id}-{client.context.span_id:016x}-"
        assert got.headers["traceparent"].startswith(parent)
        assert (client.name, client.kind) == ("POST", trace.SpanKind.CLIENT)
        assert client.attributes is not None
        assert client.attributes["http.response.status_code"] == 503
        assert "canary" not in str(client.to_json())
        assert "secret-path" not in str(client.to_json())


@pytest.mark.parametrize(
    "answer", [status(500), status(404), status(302), status(429), silent, reset, rubbish]
)
def test_no_error_and_no_log_line_has_a_payload_a_secret_or_more_than_the_host(
    answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    @with_server(answer)
    async def _(server: HttpServer) -> None:
        target = Target(
            server.url("/canary-path?key=canary-query"),
            secrets=[Secret(OLD)],
            bearer=Secret("canary-bearer"),
            limits=QUICK,
            circuit=CircuitPolicy(consecutive_failures=1),
        )
        for _ in range(2):
            chain: BaseException | None = await failure(target)
            while chain is not None:
                assert "canary" not in f"{chain!s} {chain!r}"
                assert OLD not in f"{chain!s} {chain!r}"
                chain = chain.__cause__ or chain.__context__

    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    "url", ["", "hooks.example/x", "ftp://hooks.example/", "http://", "http://[::1"]
)
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write one such as"):
        forward(url)


def test_what_cannot_be_used_is_told_without_its_value() -> None:
    with pytest.raises(ConfigurationError, match="user or password") as told:
        forward("https://user:canary@hooks.example/")
    assert "canary" not in str(told.value)
    for options in ({"secrets": ["whsec_canary!"]}, {"bearer": "canary canary"}, {"bearer": ""}):
        with pytest.raises(SecretFormatError) as refused:
            forward("https://hooks.example/", **options)  # type: ignore[arg-type]
        assert refused.value.__context__ is None
        assert "canary" not in str(refused.value)
    with pytest.raises(HooklineError, match="at most 8"):
        forward("https://hooks.example/", secrets=[OLD] * 9)
