"""A broker with a password, and a target that tells all that it was sent."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.parts.kafka import KafkaBroker
from tests.parts.process import free_port


class SaslBroker(KafkaBroker):
    """A broker with a second listener that wants a user and a password."""

    def __init__(self, password: str) -> None:
        super().__init__()
        self.sasl_port = free_port()
        listeners = next(
            line for line in self._config.read_text().splitlines() if line.startswith("listeners=")
        )
        more = {
            "listeners": f"{listeners.partition('=')[2]},SASL://127.0.0.1:{self.sasl_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port},"
            f"SASL://127.0.0.1:{self.sasl_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "SASL:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain."
            f'PlainLoginModule required user_hookline="{password}";',
        }
        with self._config.open("a") as config:
            config.writelines(f"{name}={value}\n" for name, value in more.items())

    @property
    def data(self) -> Path:
        """Its logs, segments of the topics."""
        return self._folder / "data"


class Echo:
    """A target that gives back all that it gets, secrets too, and fails with it."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                bearer = self.headers.get("Authorization", "")
                echo = f"you sent {self.headers} and ".encode() + body
                # 400 is permanent, the others may pass.
                self.send_response(400 if b"MessageSid" in body else 503, f"no {bearer}")
                for name in ("Retry-After", "WWW-Authenticate", "Location", "X-Echo"):
                    self.send_header(name, bearer)
                self.send_header("Content-Length", str(len(echo)))
                self.end_headers()
                self.wfile.write(echo)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def __enter__(self) -> Echo:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
