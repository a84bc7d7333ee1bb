"""A system like those that customers have, on loopback: it answers as it is told to."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import randbytes
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Vendor:
    """Runs from `with` to its end. What it was asked is in `requests`."""

    def __init__(self, token: str = "right-token") -> None:
        self.token = token
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.hooks: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, str] = {}
        #: What it signs with where it makes the secret.
        self.signing = "signing-of-vendor"
        #: Path → what to answer in place of what it would: status, headers, body.
        self.instead: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.known: set[str] = set()
        #: Path → what its answer waits for.
        self.held: dict[str, threading.Event] = {}
        self.when_hooked: Callable[[dict[str, Any]], None] = lambda hook: None
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def _answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length)
                headers = {k.lower(): v for k, v in self.headers.items()}
                vendor.requests.append((self.command, self.path, headers, body))
                status, more, text = vendor.answer(self.command, self.path, headers, body)
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_DELETE = do_PUT = _answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    def __enter__(self) -> Vendor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        path = urlsplit(target).path
        if path in self.held:
            self.held[path].wait(30)
        if path in self.instead:
            return self.instead[path]
        if path.startswith("/webhooks/"):
            # Our own gateway, as far as the flow asks it.
            return (401 if path.rsplit("/", 1)[1] in self.known else 404), {}, b"{}"
        if path == "/token":
            return self._token({k: v[0] for k, v in parse_qs(body.decode()).items()})
        if headers.get("authorization") != f"Bearer {self.token}":
            return 401, {}, b'{"message": "Bad credentials"}'
        if path == "/me":
            return 200, {}, b'{"login": "octocat"}'
        if path == "/hooks" and method == "POST":
            hook = json.loads(body)
            name = f"hook-{len(self.hooks) + 1}"
            self.hooks[name] = hook
            self.when_hooked(hook)
            return 201, {}, json.dumps({"id": name, "secret": self.signing}).encode()
        if path.endswith("/secret") and method == "POST":
            # Made by it, and in use before it has said so.
            made = f"whsec_{base64.b64encode(randbytes(24)).decode()}"
            self.hooks[path.split("/")[2]]["secret"] = made
            return 200, {}, json.dumps({"secret": made}).encode()
        if path.startswith("/hooks/") and method == "PUT":
            self.hooks[path.rsplit("/", 1)[1]] |= json.loads(body)
            return 200, {}, b"{}"
        if path.startswith("/hooks/") and method == "DELETE":
            gone = self.hooks.pop(path.rsplit("/", 1)[1], None)
            return (204 if gone is not None else 404), {}, b""
        if path.endswith("/test"):
            return 204, {}, b""
        return 404, {}, b"{}"

    def _token(self, asked: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if self.codes.pop(asked.get("code", ""), None) is None:
            return 400, {}, b'{"error": "invalid_grant"}'
        given = {"access_token": self.token, "refresh_token": "refresh-1", "scope": "read hooks",
                 "expires_in": 3600, "token_type": "bearer"}  # fmt: skip
        return 200, {}, json.dumps(given).encode()
