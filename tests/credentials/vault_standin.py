"""A small Vault of the tests' own: KV version 2, AppRole and Kubernetes log-in, token look-up.

It passes the same suite as a real Vault does (test_backends.py, test_remote_backends.py), and is
here for machines where none was built.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROLE_ID = "hookline-role"
#: What a pod of service account hookline would show.
POD_TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJob29rbGluZSJ9.c2lnbmF0dXJl"
_DENIED = (403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})


class VaultStandIn:
    """One server on loopback; its methods are what an operator does there."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any] | None] = {}
        #: path → version and custom metadata, of what was written by the API.
        self.metadata: dict[str, dict[str, Any]] = {}
        #: Each is done once, before a write: what somebody else does between a look and a write.
        self.meanwhile: list[Callable[[], object]] = []
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
        known = self.metadata.setdefault(path, {"current_version": 0})
        known["current_version"] += 1

    def new_writer_id(self) -> tuple[str, str]:
        """A role id and a secret id that may write below secret/hookline/connect."""
        return self.new_secret_id()

    def read(self, path: str) -> Any:
        """What is at secret/`path`: data and metadata; None if nothing is."""
        found = self.secrets.get(path), self.metadata.get(path)
        return None if found == (None, None) else found

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
        if "/metadata/" in path or method != "get":
            return self._write(method, path, body)
        if mount not in ("secret", "teams/acme"):
            return 404, {"errors": []}
        if rest in self.denied:
            return _DENIED
        if rest not in self.secrets:
            return 404, {"errors": []}
        data = self.secrets[rest]
        meta = {"deletion_time": "" if data else "2026-11-24T00:00:00Z", "version": 1}
        return 200 if data else 404, {"data": {"data": data, "metadata": meta}}

    def _write(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        mount, kind, place = path.split("/", 2) if path.count("/") > 1 else (path, "", "")
        if mount != "secret" or kind not in ("data", "metadata"):
            return 404, {"errors": []}
        if place in self.denied:
            return _DENIED
        if kind == "data" and self.meanwhile:
            self.meanwhile.pop()()
        known = self.metadata.get(place)
        if kind == "data":
            # As Vault does, a secret that is written has metadata from then on.
            version = known["current_version"] if known else 0
            if body.get("options", {}).get("cas", version) != version:
                wrong = "check-and-set parameter did not match the current version"
                return 400, {"errors": [wrong]}
            self.metadata.setdefault(place, {})["current_version"] = version + 1
            self.secrets[place] = body["data"]
            return 200, {"data": {"version": version + 1}}
        if method == "get":
            return (404, {"errors": []}) if known is None else (200, {"data": known})
        if method == "delete":
            self.metadata.pop(place, None)
            self.secrets.pop(place, None)
        else:
            self.metadata.setdefault(place, {"current_version": 0}).update(body)
        return 204, None

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
                data = b"" if status == 204 else json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = _do

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
