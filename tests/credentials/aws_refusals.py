"""AWS's refusals in its own JSON protocol: moto answers these in XML, as AWS never does here."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class AwsRefusals:
    """A server that answers every request with the error `code`."""

    def __init__(self) -> None:
        self.code = "AccessDeniedException"
        self.status = 400
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> AwsRefusals:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        refusals = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = 65_536

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                data = json.dumps({"__type": refusals.code, "Message": "no"}).encode()
                self.send_response(refusals.status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
