"""How a vendor sends its webhooks: from a thread, with the answers that they got."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook that was sent. `status` is 0 where there was no answer."""

    url: str
    event: str
    status: int
    at_s: float


class Deliveries:
    """Sends webhooks. `ports` says where a host's name leads on this machine."""

    def __init__(self, ca_file: Path, ports: Mapping[str, int] | None = None) -> None:
        self.ports = dict(ports or {})
        self.sent: list[Delivered] = []
        self._pool = ThreadPoolExecutor(4, "vendor")
        self._client = httpx.Client(verify=ssl.create_default_context(cafile=ca_file), timeout=10)
        self._lock = threading.Lock()

    def close(self) -> None:
        """End it."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    def later(self, url: str, event: str, headers: Mapping[str, str], body: bytes) -> None:
        """Send it soon, as vendors do: behind the answer to what caused it."""
        self._pool.submit(self._soon, url, event, headers, body)

    def _soon(self, url: str, event: str, headers: Mapping[str, str], body: bytes) -> None:
        time.sleep(0.1)
        self.now(url, event, headers, body)

    def now(self, url: str, event: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send it; the answer's status, or 0."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = self.ports.get(host) or parts.port or 443
        try:
            answer = self._client.post(
                f"{parts.scheme}://127.0.0.1:{port}{parts.path}",
                headers={"host": parts.netloc, "content-type": "application/json", **headers},
                content=body,
                extensions={"sni_hostname": host},
            )
            status = answer.status_code
        except httpx.TransportError:
            status = 0
        with self._lock:
            self.sent.append(Delivered(url=url, event=event, status=status, at_s=time.time()))
        return status

    def of(self, url: str) -> list[Delivered]:
        """What was sent to an address."""
        with self._lock:
            return [one for one in self.sent if one.url == url]
