"""A small help desk for the demo: somebody can connect it by hand, as a customer connects theirs.

It is a system like others: an API with a token, webhooks by Standard Webhooks, and
a page with a button that makes a ticket. On loopback only, for as long as the demo runs.
"""

from __future__ import annotations

import hmac
import json
import queue
import secrets
import threading
import time
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

_MAX_BODY_BYTES: Final = 65_536
_MAX_WEBHOOKS: Final = 20
_MAX_WAITING: Final = 1_000
_TRIES: Final = 5
_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Practice Desk</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:1rem/1.6 system-ui;max-width:36rem;margin:3rem auto;padding:0 1rem}}
code{{font-size:1.05em;background:#8882;padding:.2em .4em;border-radius:.3em}}
button{{font:inherit;padding:.5em 1em}}:root{{color-scheme:light dark}}</style>
<h1>Practice Desk</h1>
<p>A help desk for trying things out. To connect it, copy these two into the form:</p>
<p>Address: <code>{address}</code></p><p>API token: <code>{token}</code></p>
<p>Connected webhooks: {webhooks}. Tickets: {tickets}.</p>
<form method="post" action="/tickets"><button>Create a ticket</button></form></html>
"""


class _Webhook(msgspec.Struct):
    url: str
    key: bytes


class PracticeDesk:
    """A context manager; `address` and `token` are what the customer enters."""

    def __init__(self, port: int = 0) -> None:
        self.token = f"desk_{secrets.token_hex(12)}"
        self._webhooks: dict[str, _Webhook] = {}
        self._tickets = 0
        self._events: queue.Queue[tuple[_Webhook, str, bytes] | None] = queue.Queue(_MAX_WAITING)
        desk = self

        class Handler(_Handler):
            practice_desk = desk

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._serving = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._sending = threading.Thread(target=self._send, daemon=True)

    @property
    def address(self) -> str:
        """Its URL, on loopback."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> PracticeDesk:
        self._serving.start()
        self._sending.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._events.put(None)
        self._sending.join(2.0)

    def page(self) -> bytes:
        """Its only page."""
        return _PAGE.format(
            address=self.address,
            token=self.token,
            webhooks=len(self._webhooks),
            tickets=self._tickets,
        ).encode()

    def register(self, wanted: Mapping[str, Any]) -> str | None:
        """A new webhook's id; None if that is not one."""
        url, secret = wanted.get("url"), wanted.get("secret")
        if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
            return None
        if not isinstance(secret, str) or not secret.startswith("whsec_"):
            return None
        try:
            key = a2b_base64(secret.removeprefix("whsec_"))
        except ValueError:
            return None
        if len(self._webhooks) >= _MAX_WEBHOOKS:
            return None
        webhook_id = f"wh_{secrets.token_hex(6)}"
        self._webhooks[webhook_id] = _Webhook(url, key)
        return webhook_id

    def remove(self, webhook_id: str) -> bool:
        """Whether there was such a webhook."""
        return self._webhooks.pop(webhook_id, None) is not None

    def test(self, webhook_id: str) -> bool:
        """Send an example; False if there is no such webhook."""
        webhook = self._webhooks.get(webhook_id)
        if webhook is None:
            return False
        self._tell(webhook, "ticket.created", "0")
        return True

    def create_ticket(self) -> None:
        """Somebody has pressed the button."""
        self._tickets += 1
        for webhook in list(self._webhooks.values()):
            self._tell(webhook, "ticket.created", str(self._tickets))

    def _tell(self, webhook: _Webhook, event_type: str, ticket: str) -> None:
        event = {
            "type": event_type,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "data": {"id": f"ticket-{ticket}", "subject": "The coffee machine hums"},
        }
        try:
            self._events.put_nowait((webhook, f"msg_{secrets.token_hex(8)}", _json(event)))
        except queue.Full:
            return  # It is a demo's: nobody waits for the thousand-and-first.

    def _send(self) -> None:
        with httpx.Client(timeout=10, trust_env=False) as client:
            while (event := self._events.get()) is not None:
                webhook, event_id, body = event
                for n in range(_TRIES):
                    try:
                        headers = _signed(webhook.key, event_id, body)
                        if client.post(webhook.url, content=body, headers=headers).is_success:
                            break
                    except httpx.HTTPError:
                        pass
                    time.sleep(0.5 * (n + 1))


class _Handler(BaseHTTPRequestHandler):
    practice_desk: PracticeDesk

    def do_GET(self) -> None:
        if self.path == "/":
            self._answer(200, self.practice_desk.page(), "text/html; charset=utf-8")
        elif self.path == "/api/me" and self._known():
            self._answer(200, _json({"account": "Practice Desk of Northwind"}))
        else:
            self._answer(404, _json({"error": "not found"}))

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/tickets":
            self.practice_desk.create_ticket()
            self.send_response(303)
            self.send_header("Location", "/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif not self._known():
            self._answer(401, _json({"error": "this token is not known"}))
        elif self.path == "/api/webhooks":
            webhook_id = self.practice_desk.register(body)
            if webhook_id is None:
                self._answer(
                    422, _json({"error": "write url and a secret that begins with whsec_"})
                )
            else:
                self._answer(201, _json({"id": webhook_id}))
        elif self.practice_desk.test(self.path.removesuffix("/test").rsplit("/", 1)[-1]):
            self._answer(202, b"{}")
        else:
            self._answer(404, _json({"error": "not found"}))

    def do_DELETE(self) -> None:
        there = self._known() and self.practice_desk.remove(self.path.rsplit("/", 1)[-1])
        self._answer(204 if there else 404, b"")

    def _known(self) -> bool:
        given = self.headers.get("Authorization", "").encode("utf-8", "replace")
        return hmac.compare_digest(given, f"Bearer {self.practice_desk.token}".encode())

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > _MAX_BODY_BYTES:
            return {}
        try:
            found = json.loads(self.rfile.read(int(length)) or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        if status == 404 and self.path.startswith("/api") and not self._known():
            status, body = 401, _json({"error": "this token is not known"})
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the demo's screen is for the demo."""


def _signed(key: bytes, event_id: str, body: bytes) -> dict[str, str]:
    moment = str(int(time.time()))
    digest = hmac.digest(key, f"{event_id}.{moment}.".encode() + body, sha256)
    return {
        "Content-Type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": moment,
        "webhook-signature": "v1," + b2a_base64(digest, newline=False).decode(),
    }


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
