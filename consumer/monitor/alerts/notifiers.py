"""Ways to tell people: a signed webhook, Slack and what speaks like it, e-mail.

Each sends once, within its time; `delivery` tries again. No error holds an address's path or
query, a password or a token, as those of chat services are secrets.
"""

from __future__ import annotations

import json
import smtplib
import ssl
import time
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, Final, Literal, Protocol

import httpx
import msgspec

from consumer.handlers.http_answer import failure_of
from consumer.handlers.webhook_signature import WebhookSigner
from consumer.monitor.alerts.grouping import Notification
from consumer.monitor.alerts.messages import as_json, lines, message_id, title
from credentials.secret import Secret
from schemas.errors import PermanentError, RetryLater, SecretFormatError

_MAX_RETRY_AFTER_S: Final = 60.0
_MAX_TEXT: Final = 3_500


class Notifier(Protocol):
    """One way; `name` is what settings and metrics call it."""

    name: str

    def send(self, notification: Notification) -> None:
        """Tell it; RetryLater or PermanentError, which say why, if that did not work."""


class WebhookNotifier:
    """POSTs JSON to an address, signed by Standard Webhooks."""

    def __init__(
        self, name: str, url: Secret, secrets: Sequence[Secret] = (), timeout_s: float = 10.0
    ) -> None:
        self.name = name
        self._post = _Poster(name, url, timeout_s)
        self._signer = WebhookSigner(secrets)

    def send(self, notification: Notification) -> None:
        body = json.dumps(as_json(notification), separators=(",", ":")).encode()
        headers = self._signer.headers(message_id(notification), body, time.time())
        self._post(body, headers)


class SlackNotifier:
    """Posts a text to an incoming webhook of Slack, Mattermost, Rocket.Chat and the like."""

    def __init__(self, name: str, url: Secret, timeout_s: float = 10.0) -> None:
        self.name = name
        self._post = _Poster(name, url, timeout_s)

    def send(self, notification: Notification) -> None:
        text = f"*{_escaped(title(notification))}*\n" + "\n".join(
            map(_escaped, lines(notification))
        )
        self._post(json.dumps({"text": text[:_MAX_TEXT]}).encode(), {})


class MailServer(msgspec.Struct, frozen=True, kw_only=True):
    """Where mail is handed in."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    username: str = ""
    password: Secret | None = None


class MailNotifier:
    """Hands a plain-text mail to a server."""

    def __init__(
        self,
        name: str,
        server: MailServer,
        sender: str,
        to: Sequence[str],
        timeout_s: float = 10.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`context`: whom to trust; the system's certificates if None."""
        self.name = name
        self._server = server
        self._sender = sender
        self._to = tuple(to)
        self._timeout_s = timeout_s
        self._context = context or ssl.create_default_context()

    def send(self, notification: Notification) -> None:
        failure = self._sent(notification)
        # Outside the except block: an error of the client may quote what it sent.
        if failure is not None:
            raise failure

    def _sent(self, notification: Notification) -> Exception | None:
        server = self._server
        place = f"{self.name}: the mail server {server.host}:{server.port}"
        try:
            with self._connected() as smtp:
                if server.security == "starttls":
                    smtp.starttls(context=self._context)
                if server.password is not None:
                    smtp.login(server.username, server.password.reveal())
                refused = smtp.send_message(self._mail(notification))
        except smtplib.SMTPAuthenticationError as error:
            return PermanentError(
                f"{place} refuses the login ({error.smtp_code}): check username and password"
            )
        except smtplib.SMTPRecipientsRefused:
            return PermanentError(f"{place} takes mail for none of the recipients: check `to`")
        except smtplib.SMTPResponseException as error:
            kind = PermanentError if 500 <= error.smtp_code < 600 else RetryLater
            return kind(f"{place} answered {error.smtp_code}")
        except ssl.SSLCertVerificationError as error:
            return PermanentError(f"{place} is not trusted: {error.verify_message}")
        except (smtplib.SMTPException, OSError) as error:
            return RetryLater(f"{place} cannot be used ({type(error).__name__})")
        if refused:
            return PermanentError(f"{place} refused {len(refused)} of the recipients: check `to`")
        return None

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        if server.security == "tls":
            return smtplib.SMTP_SSL(
                server.host, server.port, timeout=self._timeout_s, context=self._context
            )
        return smtplib.SMTP(server.host, server.port, timeout=self._timeout_s)

    def _mail(self, notification: Notification) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = " ".join(title(notification).split())
        mail["From"] = self._sender
        mail["To"] = ", ".join(self._to)
        mail["Date"] = formatdate(notification.at_ms / 1000)
        mail["Message-ID"] = f"<{message_id(notification)}@hookline>"
        mail.set_content("\n".join(lines(notification)) + "\n")
        return mail


class _Poster:
    def __init__(self, name: str, url: Secret, timeout_s: float) -> None:
        try:
            parsed = httpx.URL(url.reveal().strip())
        except (httpx.InvalidURL, TypeError):
            parsed = httpx.URL("")
        if parsed.scheme not in ("https", "http") or not parsed.host:
            raise SecretFormatError(
                f"notifier {name}: its url is no http(s) address (not shown, it may be secret)"
            )
        self._url = parsed
        #: Never more of it than this: the path of a chat's address is its password.
        self._place = (
            f"{name}: {parsed.scheme}://{parsed.netloc.decode('ascii').rpartition('@')[2]}"
        )
        self._timeout_s = timeout_s

    def __call__(self, body: bytes, headers: dict[str, str]) -> None:
        failure = self._posted(body, headers)
        if failure is not None:
            raise failure

    def _posted(self, body: bytes, headers: dict[str, str]) -> Exception | None:
        answer: Any = None
        try:
            # No redirects: a signed message goes only where its settings say.
            with (
                httpx.Client(timeout=self._timeout_s, trust_env=False) as client,
                client.stream(
                    "POST",
                    self._url,
                    content=body,
                    headers={"content-type": "application/json", **headers},
                ) as answer,
            ):
                return failure_of(
                    self._place,
                    answer.status_code,
                    answer.headers.get("retry-after"),
                    time.time(),
                    _MAX_RETRY_AFTER_S,
                )
        except httpx.HTTPError as error:
            return RetryLater(f"{self._place} cannot be reached ({type(error).__name__})")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
