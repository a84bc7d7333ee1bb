"""The notifiers, towards servers on loopback: what they send, and what happens when that fails."""

from __future__ import annotations

import ipaddress
import json
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email import message_from_string
from email.header import decode_header, make_header
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook

from consumer.monitor.alerts.delivery import MAX_WAITING, Delivery
from consumer.monitor.alerts.grouping import Notification
from consumer.monitor.alerts.notifiers import (
    MailNotifier,
    MailServer,
    SlackNotifier,
    WebhookNotifier,
)
from consumer.monitor.alerts.states import Alert, State
from credentials.secret import Secret
from schemas.errors import PermanentError, RetryLater, SecretFormatError
from tests.alerts.receivers import MailReceiver, WebhookReceiver

SIGNING = "whsec_YS1zZWNyZXQtb2YtdGhlLWFsZXJ0cy10ZXN0cw=="


def message(count: int = 1, summary: str = "<b>Lag</b> & more") -> Notification:
    alerts = tuple(
        Alert(
            rule="Lag", severity="page", labels=(("instance", f"c{n}"),), state=State.FIRING,
            value=3.5, since_ms=1_000, fired_ms=2_000, summary=summary, description="d",
            runbook="docs/alerts.md#lag",
        )
        for n in range(count)
    )  # fmt: skip
    return Notification(
        group="Lag", environment="test", severity="page", at_ms=3_000, firing=alerts, resolved=()
    )


def test_a_webhook_is_signed_and_says_all() -> None:
    with WebhookReceiver() as receiver:
        WebhookNotifier("oncall", Secret(receiver.url), [Secret(SIGNING)]).send(message())
        ((_, headers, body),) = receiver.received
    Webhook(SIGNING).verify(body, headers)
    said = json.loads(body)
    assert said["type"] == "hookline.alert.firing"
    assert (
        said["data"]["alerts"][0] | {"value": 3.5, "since": "1970-01-01T00:00:01Z"}
        == (said["data"]["alerts"][0])
    )


def test_a_message_that_is_sent_again_has_its_id() -> None:
    with WebhookReceiver(503, 200) as receiver:
        delivery = Delivery(
            [WebhookNotifier("oncall", Secret(receiver.url), [Secret(SIGNING)])], [0.01]
        )
        delivery.start()
        delivery.send(message())
        until(lambda: delivery.results["oncall", "sent"] == 1)
        delivery.stop()
    ids = [headers["webhook-id"] for _, headers, _ in receiver.received]
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_slack_gets_a_text_in_which_nothing_is_markup() -> None:
    with WebhookReceiver() as receiver:
        SlackNotifier("chat", Secret(receiver.url)).send(message(30))
        text = json.loads(receiver.received[0][2])["text"]
    assert text.startswith("*[test] firing, page: &lt;b&gt;Lag&lt;/b&gt; &amp; more and 29 more*")
    assert "and 10 more" in text
    assert "docs/alerts.md#lag" in text


@pytest.mark.parametrize(
    ("status", "error"),
    [(503, RetryLater), (429, RetryLater), (404, PermanentError), (302, PermanentError)],
)
def test_an_answer_says_whether_to_try_again_and_no_error_shows_the_address(
    status: int, error: type[Exception]
) -> None:
    with WebhookReceiver(status) as receiver, pytest.raises(error) as caught:
        SlackNotifier("chat", Secret(receiver.url)).send(message())
    assert "secret-path" not in str(caught.value)
    assert str(caught.value).startswith("chat: http://127.0.0.1:")


def test_nobody_listens_is_tried_again() -> None:
    with WebhookReceiver() as receiver:
        url = receiver.url
    with pytest.raises(RetryLater, match="cannot be reached"):
        SlackNotifier("chat", Secret(url), timeout_s=1).send(message())


def test_what_is_no_address_is_told_without_it() -> None:
    with pytest.raises(SecretFormatError) as caught:
        SlackNotifier("chat", Secret("ftp://hooks/secret-path"))
    assert "secret-path" not in str(caught.value)


def test_tries_and_waiting_messages_are_bounded() -> None:
    with WebhookReceiver(503) as receiver:
        delivery = Delivery([SlackNotifier("chat", Secret(receiver.url))], [0.01, 0.01])
        for _ in range(MAX_WAITING + 5):
            delivery.send(message())
        assert delivery.results["chat", "dropped"] == 5
        delivery.start()
        until(lambda: delivery.results["chat", "failed"] == MAX_WAITING)
        delivery.stop()
    assert len(receiver.received) == 3 * MAX_WAITING


def test_a_notifier_that_hangs_delays_no_other() -> None:
    class Hanging:
        name = "hanging"

        def send(self, notification: Notification) -> None:
            time.sleep(5)

    with WebhookReceiver() as receiver:
        delivery = Delivery([Hanging(), SlackNotifier("chat", Secret(receiver.url))])
        delivery.start()
        delivery.send(message())
        until(lambda: delivery.results["chat", "sent"] == 1)
        delivery.stop(within_s=0.1)


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder: Path = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")


def mailer(port: int, *, trust: str = "", password: str = "", security: str = "") -> MailNotifier:
    return MailNotifier(
        "mail",
        MailServer(
            host="127.0.0.1",
            port=port,
            security="starttls" if security == "" and trust else "none",
            username="hookline",
            password=Secret(password) if password else None,
        ),
        "hookline@example.com",
        ["a@example.com", "b@example.com"],
        context=ssl.create_default_context(cafile=trust) if trust else None,
    )


def test_a_mail_goes_over_tls_with_a_login(certificate: tuple[str, str]) -> None:
    with MailReceiver(certificate=certificate, password="a-mail-password") as server:
        mailer(server.port, trust=certificate[0], password="a-mail-password").send(
            message(summary="Größer\nals\tje")
        )
    mail = message_from_string(server.mails[0])
    subject = str(make_header(decode_header(mail["subject"])))
    assert subject == "[test] firing, page: Größer als je"
    assert mail["to"] == "a@example.com, b@example.com"
    words = [line.partition(" ")[0].upper() for line in server.conversation]
    assert words.index("STARTTLS") < words.index("AUTH")


def test_a_login_that_is_refused_is_not_tried_again_nor_shown(
    certificate: tuple[str, str],
) -> None:
    with (
        MailReceiver(certificate=certificate, password="a-mail-password") as server,
        pytest.raises(PermanentError, match=r"refuses the login \(535\)") as caught,
    ):
        mailer(server.port, trust=certificate[0], password="another-password").send(message())
    assert "another-password" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("answer", "error"), [("451 later", RetryLater), ("554 never", PermanentError)]
)
def test_what_a_mail_server_answers_counts(answer: str, error: type[Exception]) -> None:
    with MailReceiver(answer=answer) as server, pytest.raises(error):
        mailer(server.port).send(message())


def test_a_mail_server_that_is_not_trusted_gets_nothing(certificate: tuple[str, str]) -> None:
    with MailReceiver(certificate=certificate) as server:
        notifier = MailNotifier(
            "mail",
            MailServer(host="127.0.0.1", port=server.port, security="starttls"),
            "hookline@example.com",
            ["a@example.com"],
        )
        with pytest.raises(PermanentError, match="is not trusted"):
            notifier.send(message())
    assert server.mails == []
