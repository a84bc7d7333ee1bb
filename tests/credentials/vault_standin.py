"""A small Vault of the tests' own: KV version 2, AppRole and Kubernetes log-in, token look-up.

It passes the same suite as a real Vault does (test_backends.py, test_remote_backends.py), and is
here for machines where none was built.
"""

from __future__ import annotations

import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROLE_ID = "hookline-role"
#: What a pod of service account hookline would show.
POD_TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJob29rbGluZSJ9.c2lnbmF0dXJl"


class VaultStandIn:
    """One server on loopback; its methods are what an operator does there."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any] | None] = {}
        self.denied: set[str] = set()
        self.secret_ids: set[str] = set()
        self.tokens: set[str] = set()
        self.log_ins = 0
        self.lease_s = 3600
        self.namespace: str | None = None
        #: A status and text that every request is answered with.
        self.answers_all: tuple[int, str] | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> VaultStandIn:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def new_secret_id(self) -> tuple[str, str]:
        """A role id and a secret id that log in."""
        made = secrets.token_hex(8)
        self.secret_ids.add(made)
        return ROLE_ID, made

    def write(self, path: str, data: dict[str, Any]) -> None:
        """A new version of secret/`path`."""
        self.secrets[path] = data

    def remove(self, path: str) -> None:
        """Delete the newest version."""
        self.secrets[path] = None

    def deny(self, path: str) -> None:
        """Take the role's right to read it."""
        self.denied.add(path)

    def end_tokens(self) -> None:
        """Revoke every token that a log-in has made."""
        self.tokens.clear()

    def end_secret_ids(self) -> None:
        """No log-in works any longer."""
        self.secret_ids.clear()

    def _answer(self, method: str, path: str, headers: Any, body: Any) -> tuple[int, Any]:
        if self.answers_all is not None:
            status, text = self.answers_all
            return status, {"errors": [text]}
        if self.namespace is not None and headers.get("X-Vault-Namespace") != self.namespace:
            return 404, {"errors": ["no handler for route"]}
        if path == "auth/approle/login":
            if body.get("role_id") == ROLE_ID and body.get("secret_id") in self.secret_ids:
                return self._log_in()
            return 400, {"errors": ["invalid role or secret ID"]}
        if path == "auth/kubernetes/login":
            if body == {"role": "hookline", "jwt": POD_TOKEN}:
                return self._log_in()
            return 403, {"errors": ["permission denied"]}
        if headers.get("X-Vault-Token") not in self.tokens:
            return 403, {"errors": ["permission denied"]}
        if path == "auth/token/lookup-self":
            return 200, {"data": {"ttl": self.lease_s}}
        mount, _, rest = path.partition("/data/")
        if method != "get" or mount not in ("secret", "teams/acme"):
            return 404, {"errors": []}
        if rest in self.denied:
            return 403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
        if rest not in self.secrets:
            return 404, {"errors": []}
        data = self.secrets[rest]
        meta = {"deletion_time": "" if data else "2026-11-24T00:00:00Z", "version": 1}
        return 200 if data else 404, {"data": {"data": data, "metadata": meta}}

    def _log_in(self) -> tuple[int, Any]:
        self.log_ins += 1
        token = secrets.token_hex(8)
        self.tokens.add(token)
        return 200, {"auth": {"client_token": token, "lease_duration": self.lease_s}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # One segment an answer: else each waits for the other side's delayed acknowledgement.
            wbufsize = 65_536

            def _do(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size) or b"null")
                path = self.path.removeprefix("/v1/")
                status, found = answer(self.command.lower(), path, self.headers, body)
                data = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = _do

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
