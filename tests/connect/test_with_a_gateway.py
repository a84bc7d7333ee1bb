"""The whole of it with a real gateway: it knows the connection before the system is told, and what
the system then sends is what the customer sees arrive."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from producer.connect.flow.state import FlowState
from producer.connect.service import ActionKind
from producer.providers.registry import build
from tests.connect.rig import Rig, act, reach, until, wanted
from tests.connect.systems import system
from tests.connect.test_service import details
from tests.connections.fleet import Fleet
from tests.gateway.http_socket import exchange, head
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka
BODY = b'{"type": "item.changed", "data": {"id": "7"}}'


def sent(port: int, connection: str, secret: str) -> int:
    """The status of a webhook as the system would send it."""
    provider = build("standard_webhooks", {})
    signed = provider.sign(
        BODY, provider.load_key(secret), event_id="msg_1", event_type="item.changed",
        now_s=time.time(),
    )  # fmt: skip
    headers = {**signed, "content-length": str(len(BODY)), "content-type": "application/json"}
    return exchange(port, head(f"/webhooks/{connection}", headers) + BODY).status


def test_from_the_form_to_the_event_on_kafka(kafka: KafkaBroker, tmp_path: Path) -> None:
    rig = Rig(kafka, tmp_path, [system("plain")])
    key = tmp_path / "seal.key"
    key.write_text(rig.key.reveal())
    key.chmod(0o600)
    sealed = {"credentials": {"sealed": {"path": str(rig.path), "key": f"file:{key}"}}}
    with rig.vendor, Fleet(kafka, tmp_path, [], settings=sealed, environ={}) as fleet:
        rig.connections, rig.events = fleet.topic, fleet.events
        rig.gateway_url = f"http://127.0.0.1:{fleet.ports[0]}"
        statuses: list[int] = []

        def hooked(hook: dict[str, Any]) -> None:
            # Like a system that tries the address as soon as it is told.
            def send() -> None:
                statuses.append(sent(fleet.ports[0], "acme-plain", hook["secret"]))

            threading.Thread(target=send).start()

        rig.vendor.when_hooked = hooked

        async def go() -> None:
            async with rig.running() as service:
                unknown = FlowState(connection_id="acme-none")
                asking = asyncio.create_task(service._effects._ask_gateway(unknown))
                _, session = await service.create(wanted("plain", connection_id="acme-plain"))
                began_s = time.monotonic()
                await act(service, session.id, ActionKind.DETAILS, values=details(rig))
                view = await reach(service, session.id, lambda v: v.step == "connected")
                print(f"from the form to the event: {time.monotonic() - began_s:.2f} s")
                assert statuses == [200]
                assert view.arrived is not None
                assert len(view.arrived.request_id) == 32
                assert type(await asking).__name__ == "Failed"
                assert await service.remove("acme-plain", "a test") == ()
                (hook,) = [r for r in rig.vendor.requests if r[:2] == ("POST", "/hooks")]
                await until(lambda: fleet.answers("acme-plain") == [404])
                assert hook[2]["authorization"] == "Bearer right-token"

        asyncio.run(go())
        assert "right-token" not in fleet.log()
