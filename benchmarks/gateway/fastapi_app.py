"""The rival: a GitHub webhook into Kafka, with FastAPI, uvicorn and aiokafka at their best.

Runs in the rivals' environment and imports nothing of Hookline. It verifies, identifies, keys,
and answers 200 only after all in-sync replicas have the record; as the gateway does, it hands on
the body as it came. What costs FastAPI time and is not part of the job is left out: there is no
response model, no validation and no middleware. Linger and compression are the best of those
tried (docs/benchmarks.md).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from fastapi import FastAPI, Request, Response

SECRET = os.environ["BENCH_SECRET"].encode()
TOPIC = os.environ["BENCH_TOPIC"]
TENANT = "acme"
# Which object of an event it is about, where that has an id of its own.
ENTITIES = {"release": "release", "workflow_run": "workflow_run", "check_run": "check_run"}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One producer for the process, on its event loop."""
    producer = AIOKafkaProducer(
        bootstrap_servers=os.environ["BENCH_KAFKA"],
        acks="all",
        enable_idempotence=True,
        linger_ms=int(os.environ.get("BENCH_LINGER_MS", "0")),
        max_batch_size=int(os.environ.get("BENCH_BATCH_BYTES", "131072")),
        compression_type=os.environ.get("BENCH_COMPRESSION", "lz4") or None,
        max_request_size=4 * 1024 * 1024,
    )
    await producer.start()
    app.state.producer = producer
    yield
    await producer.stop()


app = FastAPI(lifespan=lifespan, openapi_url=None)


@app.get("/readyz")
async def ready() -> Response:
    """Whether the producer has started."""
    return Response(b"")


@app.post("/webhooks/{connection}")
async def receive(connection: str, request: Request) -> Response:
    """Verify, identify, publish, answer."""
    began = time.perf_counter()
    body = await request.body()
    headers = request.headers
    expected = "sha256=" + hmac.digest(SECRET, body, hashlib.sha256).hex()
    given = headers.get("x-hub-signature-256", "")
    if not (given.isascii() and hmac.compare_digest(expected, given)):
        return Response(b'{"error":"signature_refused"}', 401, media_type="application/json")
    delivery, event = headers.get("x-github-delivery"), headers.get("x-github-event")
    try:
        payload = orjson.loads(body)
        if not delivery or not event:
            raise KeyError("a header that identifies is missing")
        event_type = f"github.{event}.{payload['action']}" if "action" in payload else event
        key = f"{TENANT}/{connection}/{resource(event, payload)}"
    except (ValueError, KeyError, TypeError):
        return Response(b'{"error":"unreadable"}', 422, media_type="application/json")
    request_id = f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
    try:
        await app.state.producer.send_and_wait(
            TOPIC,
            body,
            key.encode(),
            headers=[
                ("request_id", request_id.encode()),
                ("event_type", event_type.encode()),
                ("event_id", delivery.encode()),
            ],
        )
    except KafkaError:
        return Response(b"", 503, {"retry-after": "2"})
    return Response(
        f'{{"request_id":"{request_id}"}}'.encode(),
        200,
        {
            "x-request-id": request_id,
            "server-timing": f"total;dur={(time.perf_counter() - began) * 1000:.3f}",
        },
        "application/json",
    )


def resource(event: str, payload: dict[str, Any]) -> str:
    """`type/id` of what an event is about, as `producer.providers.github_payloads` has it."""
    if event in ENTITIES:
        return f"{event}/{payload[ENTITIES[event]]['id']}"
    repository = payload["repository"]["id"]
    if "pull_request" in payload:
        return f"pull_request/{repository}#{payload['pull_request']['number']}"
    if "issue" in payload:
        return f"issue/{repository}#{payload['issue']['number']}"
    if event == "push":
        return f"ref/{repository}@{payload['ref']}"
    return f"repository/{repository}"
