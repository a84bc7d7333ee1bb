"""So many webhooks a second, whatever the answers are; each resource's one after the other."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter

from producer.providers.registry import build

OPTIONS = {
    "header": "x-signature",
    "event_id": "body:/id",
    "event_type": "body:/type",
    "resource_type": "literal:order",
    "resource_id": "body:/data/id",
}
SECRET = "a-secret-of-the-load"
#: A resource's next webhook is sent when its last one is answered, and not before it is due. With
#: so many seconds between two of them a slow answer holds up nothing but its own.
_BETWEEN_S = 2.5
_TIMEOUT_S = 20.0
_PAYLOAD = "x" * 400


class Steady:
    """What was sent and answered."""

    def __init__(self, port: int, rate: float) -> None:
        self.lanes = max(1, round(rate * _BETWEEN_S))
        self.rate = rate
        self.stopping = False
        self.statuses: Counter[str] = Counter()
        #: Of the answers 200, in seconds, and when they came.
        self.answers: list[tuple[float, float]] = []
        #: Event ids answered 200, in their order, of each resource.
        self.acknowledged: dict[str, list[str]] = {}
        self.given_up = 0
        self._port = port
        self._provider = build("hmac", OPTIONS)
        self._key = self._provider.load_key(SECRET)

    async def run(self) -> None:
        """Until `stopping`, and all that is under way is answered."""
        began_s = time.monotonic()
        await asyncio.gather(*(self._lane(lane, began_s) for lane in range(self.lanes)))

    async def _lane(self, lane: int, began_s: float) -> None:
        connection = _Connection(self._port)
        resource = f"order-{lane}"
        acknowledged = self.acknowledged[resource] = []
        due_s = began_s + lane / self.rate
        number = 0
        while True:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            if self.stopping:
                break
            number += 1
            event_id = f"{resource}-{number:05}"
            if await self._until_answered(connection, resource, event_id):
                acknowledged.append(event_id)
            else:
                self.given_up += 1
            due_s += self.lanes / self.rate
        connection.close()

    async def _until_answered(self, connection: _Connection, resource: str, event_id: str) -> bool:
        """Sent again after a refusal, as a provider does; False if the load ends before a 200."""
        body = json.dumps(
            {"id": event_id, "type": "order.paid", "data": {"id": resource, "note": _PAYLOAD}}
        ).encode()
        while True:
            signed = self._provider.sign(
                body, self._key, event_id=event_id, event_type="order.paid", now_s=time.time()
            )
            began_s = time.monotonic()
            status = await connection.post("/webhooks/load", dict(signed), body)
            ended_s = time.monotonic()
            self.statuses[status] += 1
            if status == "200":
                self.answers.append((ended_s, ended_s - began_s))
                return True
            if self.stopping:
                return False
            await asyncio.sleep(1.0 if status.startswith("503") else 0.1)

    def quantile_ms(self, share: float, since_s: float = 0.0, until_s: float = 1e18) -> float:
        """Of the times of the answers 200 that came between."""
        took = sorted(took_s for at_s, took_s in self.answers if since_s <= at_s < until_s)
        return 1000 * took[min(len(took) - 1, int(share * len(took)))] if took else 0.0


class _Connection:
    """One kept open, and opened again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pair: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, headers: dict[str, str], body: bytes) -> str:
        """The status and what the body calls it, or `no answer`."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nhost: h\r\n{lines}content-length: {len(body)}\r\n\r\n"
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                if self._pair is None:
                    self._pair = await asyncio.open_connection("127.0.0.1", self._port)
                reader, writer = self._pair
                writer.write(head.encode() + body)
                answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                size = int(answer.partition("content-length:")[2].split()[0])
                told = await reader.readexactly(size)
                status = answer.split()[1]
                return status if status == "200" else f"{status} {json.loads(told)['error']}"
        except (OSError, EOFError, TimeoutError):
            self.close()
            return "no answer"

    def close(self) -> None:
        if self._pair is not None:
            self._pair[1].transport.abort()
            self._pair = None
