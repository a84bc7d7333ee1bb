"""A small Azure Key Vault of the tests' own, over HTTPS, for the real client.

It follows the REST reference (Get, Set, Delete, Get Deleted, Recover, Purge Secret; the
authentication challenge): there is no emulator. It is also an App Service's identity endpoint, so
that DefaultAzureCredential gets its token from here.
"""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DOMAIN = "vault.test"
#: The second is here too, and copies the challenge of the first.
DOMAINS = (DOMAIN, "other.test")
IDENTITY_HEADER = "identity-header"


class AzureStandIn:
    """One server on loopback that is every vault of DOMAIN."""

    def __init__(self, folder: Path) -> None:
        self.secrets: dict[str, str] = {}
        #: name → tags; the value of a deleted secret is in `deleted`, with its tags.
        self.tags: dict[str, dict[str, str]] = {}
        self.deleted: dict[str, tuple[str, dict[str, str]]] = {}
        self.recovery_level = "Recoverable+Purgeable"
        self.denied: dict[str, str] = {}
        self.token = "token-1"
        self.identity_refuses = False
        self.identity_calls = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._plain = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_port
        self.identity_endpoint = f"http://127.0.0.1:{self._plain.server_port}/msi/token"
        self.ca_file = folder / "azure.pem"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _write_certificate(self.ca_file)
        context.load_cert_chain(self.ca_file)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def suffix(self) -> str:
        """What follows a vault's name in its address."""
        return f"{DOMAIN}:{self.port}"

    def __enter__(self) -> AzureStandIn:
        for server in (self._server, self._plain):
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._server, self._plain):
            server.shutdown()
            server.server_close()

    def _answer(
        self, method: str, path: str, headers: Any, body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        path, _, query = path.partition("?")
        if path == "/msi/token":
            self.identity_calls += 1
            if headers.get("X-IDENTITY-HEADER") != IDENTITY_HEADER or self.identity_refuses:
                return 400, {"statusCode": 400, "message": "no identity"}, {}
            lasts = {"access_token": self.token, "expires_on": str(int(time.time()) + 86_400)}
            return 200, {**lasts, "resource": "https://vault", "token_type": "Bearer"}, {}
        if headers.get("Authorization") != f"Bearer {self.token}":
            challenge = (
                'Bearer authorization="https://login.test/tenant", '
                f'resource="https://{DOMAIN}:{self.port}"'
            )
            return (
                401,
                {"error": {"code": "Unauthorized", "message": "AKV10000"}},
                {"WWW-Authenticate": challenge},
            )
        parts = path.strip("/").split("/")
        kind, name = (*parts, "", "")[:2]
        method = f"{method} {parts[2]}" if len(parts) == 3 and kind == "deletedsecrets" else method
        if "api-version=" not in query or kind not in ("secrets", "deletedsecrets"):
            return 400, {"error": {"code": "BadParameter", "message": "no such method"}}, {}
        if name in self.denied:
            inner = {"code": self.denied[name]}
            error = {"code": "Forbidden", "message": "Operation is not allowed"}
            return 403, {"error": {**error, "innererror": inner}}, {}
        if kind == "deletedsecrets":
            return self._of_deleted(method, name, headers)
        if method == "PUT":
            if not name.replace("-", "").isalnum() or len(name) > 127:
                return 400, {"error": {"code": "BadParameter", "message": "the name"}}, {}
            if name in self.deleted:
                inner = {"code": "ObjectIsDeletedButRecoverable"}
                return 409, {"error": {"code": "Conflict", "innererror": inner}}, {}
            self.secrets[name], self.tags[name] = body["value"], body.get("tags") or {}
        if name not in self.secrets:
            return 404, {"error": {"code": "SecretNotFound", "message": "not in this vault"}}, {}
        if method == "DELETE":
            self.deleted[name] = self.secrets.pop(name), self.tags.pop(name, {})
            return 200, self._deleted_bundle(name, headers), {}
        return 200, {**self._bundle(name, headers), "value": self.secrets[name]}, {}

    def _of_deleted(self, method: str, name: str, headers: Any) -> tuple[int, Any, dict[str, str]]:
        if name not in self.deleted:
            return 404, {"error": {"code": "SecretNotFound", "message": "not deleted"}}, {}
        if method == "POST recover":
            self.secrets[name], self.tags[name] = self.deleted.pop(name)
            return 200, self._bundle(name, headers), {}
        if method == "DELETE":
            if "Purgeable" not in self.recovery_level:
                inner = {"code": "ForbiddenByPolicy"}
                return 403, {"error": {"code": "Forbidden", "innererror": inner}}, {}
            del self.deleted[name]
            return 204, None, {}
        return 200, self._deleted_bundle(name, headers), {}

    def _bundle(self, name: str, headers: Any) -> dict[str, Any]:
        attributes = {"enabled": True, "created": 1, "updated": 1}
        return {
            "id": f"https://{headers['Host']}/secrets/{name}/0123456789abcdef",
            "attributes": {**attributes, "recoveryLevel": self.recovery_level},
            "tags": self.tags.get(name, {}),
        }

    def _deleted_bundle(self, name: str, headers: Any) -> dict[str, Any]:
        recovery = f"https://{headers['Host']}/deletedsecrets/{name}"
        times = {"recoveryId": recovery, "deletedDate": 1, "scheduledPurgeDate": 2}
        return {**self._bundle(name, headers), **times, "tags": self.deleted[name][1]}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # One segment an answer: else each waits for the other side's delayed acknowledgement.
            wbufsize = 65_536

            def do_GET(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                sent = json.loads(self.rfile.read(size) or b"null")
                status, body, headers = answer(self.command, self.path, self.headers, sent)
                data = b"" if status == 204 else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {
                    "Content-Type": "application/json",
                    "Content-Length": str(len(data)),
                    **headers,
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_PUT = do_DELETE = do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


def resolving_to_loopback(real: Any) -> Any:
    """A getaddrinfo to which every vault of DOMAINS is this machine."""

    def resolve(host: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(host, str) and host.endswith(tuple(f".{name}" for name in DOMAINS)):
            host = "127.0.0.1"
            named.pop("family", None)
            return real(host, arguments[0] if arguments else 0, socket.AF_INET, socket.SOCK_STREAM)
        return real(host, *arguments, **named)

    return resolve


def _write_certificate(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"*.{DOMAIN}")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(f"*.{name}") for name in DOMAINS]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
