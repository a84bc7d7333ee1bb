"""Who is told: an HTTP server and a mail server on loopback that keep what they were sent."""

from __future__ import annotations

import base64
import json
import socketserver
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WebhookReceiver:
    """Keeps each POST; answers `statuses` one after another, the last one for all further."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses) or [200]
        self.received: list[tuple[float, dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append((time.monotonic(), headers, body))
                more = len(receiver.statuses) > 1
                self.send_response(receiver.statuses.pop(0) if more else receiver.statuses[0])
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook/secret-path"

    def __enter__(self) -> WebhookReceiver:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def when(self, rule: str, status: str) -> float | None:
        """When (monotonic) a rule was told first with this status."""
        for at_s, _, body in list(self.received):
            data: dict[str, Any] = json.loads(body)["data"]
            if data["rule"] == rule and data["status"] == status:
                return at_s
        return None


class MailReceiver:
    """The little of SMTP (RFC 5321) that a mail is handed in by; with a certificate, STARTTLS."""

    def __init__(
        self, *, certificate: tuple[str, str] | None = None, password: str = "", answer: str = ""
    ) -> None:
        """`answer`: what is said to DATA's end in place of 250."""
        self.mails: list[str] = []
        self.conversation: list[str] = []
        receiver = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.say("220 here")
                while line := self.rfile.readline().decode().rstrip("\r\n"):
                    receiver.conversation.append(line)
                    if self.answer(line):
                        return

            def answer(self, line: str) -> bool:
                verb = line.partition(" ")[0].upper()
                if verb == "EHLO":
                    offers = ["250-here", "250-AUTH PLAIN"] if password else ["250-here"]
                    offers += ["250-STARTTLS"] if certificate else []
                    self.say("\r\n".join([*offers, "250 8BITMIME"]))
                elif verb == "STARTTLS" and certificate:
                    self.say("220 go on")
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(*certificate)
                    try:
                        self.connection = context.wrap_socket(self.connection, server_side=True)
                    except ssl.SSLError:
                        return True
                    self.rfile = self.connection.makefile("rb")
                    self.wfile = self.connection.makefile("wb", buffering=0)
                elif verb == "AUTH":
                    given = base64.b64decode(line.split()[-1]).split(b"\0")[-1].decode()
                    self.say("235 ok" if given == password else "535 no")
                elif verb == "DATA":
                    self.say("354 go on")
                    lines = []
                    while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                        lines.append(text)
                    if not answer:
                        receiver.mails.append("\n".join(lines))
                    self.say(answer or "250 taken")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return True
                else:
                    self.say("250 ok")
                return False

            def say(self, text: str) -> None:
                self.wfile.write(text.encode() + b"\r\n")

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> MailReceiver:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
