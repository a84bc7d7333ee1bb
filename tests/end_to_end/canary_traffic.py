"""Webhooks of every scheme, right and wrong in many ways, each full of marked secrets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from tests.end_to_end.canary_secrets import SENT_BESIDE, Marked, with_note
from tests.gateway.http_socket import HttpSocket, head
from tests.providers.subjects import SUBJECTS, Subject


class Traffic:
    """Sends, and keeps every byte that is answered."""

    def __init__(self, marked: Marked, port: int) -> None:
        self._marked = marked
        self._port = port
        self.answers: list[bytes] = []

    def exchange(self, data: bytes) -> int:
        """The status of the first answer; all that comes is kept."""
        with HttpSocket(self._port, timeout_s=15) as connection:
            connection.send(data.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
            answer = connection.rest()
        self.answers.append(answer)
        return int(answer.split(b" ", 2)[1]) if answer else 0

    def send(self, subject: Subject, *, beside: bool = True, **how: Any) -> int:
        """The status of one webhook."""
        return self.exchange(self.data(subject, beside=beside, **how))

    def data(
        self,
        subject: Subject,
        *,
        connection: str = "",
        which: str = "NEW",
        body: bytes | None = None,
        sent_body: bytes | None = None,
        proof: str | list[str] | None = None,
        beside: bool = True,
        tail: str = "",
    ) -> bytes:
        """A webhook's bytes; `sent_body` in place of the one that is signed."""
        marked = self._marked
        if body is None:
            body = with_note(subject.body(), marked.payload.value)
        changed = {} if proof is None or subject.proof is None else {subject.proof: proof}
        request = subject.request(
            subject.build(),
            body,
            secret=marked.signing(subject, which),
            now_s=time.time(),
            changed=changed,
        )
        pairs = request.headers.pairs()  # type: ignore[attr-defined]
        if proof is None and subject.proof is not None and not subject.name.startswith("ce-b"):
            value = next(value for name, value in pairs if name == subject.proof)
            if subject.proof not in SENT_BESIDE and "token" not in subject.proof:
                # Each part that is long enough to be one: t=… and v1,… are said by each.
                for n, part in enumerate(value.replace(",", " ").replace("=", " ").split()):
                    if len(part) >= 24:
                        marked.seen(f"proof {n} of {subject.name} {len(self.answers)}", part)
        if beside:
            names = {name for name, _ in pairs}
            pairs += [(n, v) for n, v in marked.beside.items() if n not in names]
            pairs.append(("traceparent", f"00-{'ab' * 16}-{'cd' * 8}-01"))
        out = request.body if sent_body is None else sent_body
        query = "&".join(part for part in (request.query, tail) if part)
        path = f"/webhooks/{connection or subject.name}" + (f"?{query}" if query else "")
        return head(path, [*pairs, ("content-length", str(len(out)))]) + out

    def everything(self) -> dict[str, list[int]]:
        """All of it, for every scheme; the statuses by what was sent."""
        statuses: dict[str, list[int]] = {}
        for subject in SUBJECTS:
            for what, data in self._of(subject):
                statuses.setdefault(what, []).append(self.exchange(data))
        for what, data in self._of_nobody():
            statuses.setdefault(what, []).append(self.exchange(data))
        return statuses

    def _of(self, subject: Subject) -> Iterator[tuple[str, bytes]]:
        marked, note = self._marked, self._marked.payload.value
        secret = marked.signing(subject)
        yield "valid", self.data(subject)
        yield "valid", self.data(subject, which="OLD", beside=False)
        yield "valid", self.data(subject, tail=f"a={marked.payload.core}")
        # Authentic, and nothing that its rules can read.
        yield "unreadable", self.data(subject, body=f"no JSON: {note}".encode())
        yield "unreadable", self.data(subject, body=with_note(b"{}", note))
        yield "forged", self.data(subject, sent_body=with_note(b'{"a":1}', note))
        yield "elsewhere", self.data(subject, connection=_other(subject))
        if subject.proof is not None:
            # Where a token proves, it is right so; elsewhere it is a mistake that people make.
            yield "secret alone", self.data(subject, proof=secret, body=note.encode())
            for wrong in (f"v1,{secret}", f"sha256={secret}", f"t=1,v1={secret}", f"é{secret}"):
                yield "malformed", self.data(subject, proof=wrong, body=note.encode())
            yield "malformed", self.data(subject, proof=[secret, secret])
        body = with_note(subject.body(), note)
        length = ("content-length", str(len(body)))
        beside = [*marked.beside.items(), length]
        yield "unsigned", head(f"/webhooks/{subject.name}", beside) + body
        yield "too large", head(f"/webhooks/{subject.name}", [("content-length", "9" * 12)])
        # The secret in a place where people put it by mistake.
        for path in (f"{subject.name}?token={secret}", secret.replace("/", "%2f"), f"a?k={secret}"):
            yield "in the address", head(f"/webhooks/{path}", beside) + body
        gone = head(f"/webhooks/{subject.name}?k={secret}", beside, "DELETE")
        yield "not POST", gone + body

    def _of_nobody(self) -> Iterator[tuple[str, bytes]]:
        marked = self._marked
        bearer = f"Bearer {marked['sent as authorization']}"
        lines = f"authorization: {bearer}\r\nx: {marked.payload.value}\r\n".encode()
        for first in (b"POST /webhooks/github HTTP/1.1", b"POST " + lines[:50], b"GET /a HTTP/9.9"):
            yield "no HTTP", first + b"\r\n" + lines + b"no header at all\r\n\r\n"
        for token in (marked["VERIFY_TOKEN"], marked["WRONG_PASSWORD"]):
            query = f"hub.mode=subscribe&hub.challenge=1&hub.verify_token={_escaped(token)}"
            yield "handshake", head(f"/webhooks/meta?{query}", {}, "GET")
        origin = {"webhook-request-origin": marked["sent as referer"]}
        yield "handshake", head("/webhooks/ce-bearer", origin, "OPTIONS")
        body = f'{{"type":"url_verification","challenge":"c","token":"{marked["NEW_SLACK"]}"}}'
        slack = next(subject for subject in SUBJECTS if subject.name == "slack")
        yield "handshake", self.data(slack, body=body.encode())
        for path in ("/livez", "/readyz", "/metrics", f"/{_escaped(marked['KAFKA_PASSWORD'])}"):
            yield "other paths", head(path, marked.beside, "GET")


def _other(subject: Subject) -> str:
    return "github" if subject.name != "github" else "shopify"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("&", "%26").replace("+", "%2b").replace("=", "%3d")
