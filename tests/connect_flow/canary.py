"""The whole flow with marked credentials: what is entered, what vendors give, and what came out."""

from __future__ import annotations

import contextlib
import secrets
import threading
from pathlib import Path
from typing import Any

import httpx

from credentials.seal_key import PREFIX
from tests.connect_flow.customer import Customer, github, shopify, zendesk
from tests.connect_flow.stage import EMAIL, Stage, until
from tests.connect_flow.test_errors import cancel, consent, fill, right
from tests.end_to_end.canaries import Canary
from tests.parts.kafka import KafkaBroker
from tests.parts.process import free_port
from tests.telemetry.collector import OtlpCollector
from tests.vendors.misbehaviour import Misbehaviour as Bad

#: What a browser is left with.
_LEFT = """async () => JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage},
  await caches.keys(), (await indexedDB.databases()).length, location.href, document.title,
  document.referrer, [...document.querySelectorAll("*")].map(
  (node) => [node.outerHTML, node.shadowRoot?.innerHTML, node.value])])"""


class CanaryRun:
    """Three systems connected, refused, mistyped and stopped; `places` is what was put out."""

    def __init__(self, broker: KafkaBroker, folder: Path, chromium: Any) -> None:
        self.places: dict[str, bytes] = {}
        self.canaries: list[Canary] = []
        self.sealed: dict[str, str] = {}
        cores = {name: secrets.token_hex(14) for name in ("github", "zendesk", "shopify")}
        before = {"github": "ghp_", "zendesk": "zd_", "shopify": "shpss_"}
        given = {name: before[name] + core for name, core in cores.items()}
        for name, core in cores.items():
            self._mark(f"{name}, entered", given[name], core)
        self._wrong = "ghp_" + self._core("a wrong token")
        with OtlpCollector() as collector:
            environ = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
                "OTEL_LOGS_EXPORTER": "otlp",
                "OTEL_BSP_SCHEDULE_DELAY": "200",
                "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            }
            self._health_port = free_port()
            settings = {
                "telemetry": {"log_level": "debug"},
                "consumer": {
                    "handlers": "hookline.demo.handlers:handlers",
                    "store": f"sqlite:///{folder}/consumer.db",
                    "listen": f"127.0.0.1:{self._health_port}",
                },
            }
            self.stage = Stage(
                broker, folder, credentials=given, settings=settings, environ=environ
            )
            seal = self.stage.credentials["seal"]
            self._mark("the seal's key", seal, seal.removeprefix(PREFIX))
            try:
                self.stage.start()
                self.stage.run_process("consumer", "consumer", self.stage.settings)
                self._play(chromium)
                self._take_down(collector)
            finally:
                self.stage.close()

    def _core(self, name: str) -> str:
        core = secrets.token_hex(14)
        self._mark(name, core, core)
        return core

    def _mark(self, name: str, value: str, core: str) -> None:
        self.canaries.append(Canary(name, value, core))

    def _play(self, chromium: Any) -> None:
        stage = self.stage
        for name, way in (("github", github), ("shopify", shopify), ("zendesk", zendesk)):
            customer = self._customer(chromium, name)
            way(stage, customer)
            self._leave(customer, name)
        # What went wrong, at vendors that quote what they were sent.
        customer = self._customer(chromium, "quoted", system="github")
        for on in ("GET /repos", "POST /repos"):
            with stage.street.github.misbehaving(Bad.ECHO, on):
                fill(customer, {**right(stage, "github")})
                customer.sees("What to do:")
                self._look(customer, f"quoted {on}")
            customer.press("Change your details")
        fill(customer, {"Access token": self._wrong})
        customer.sees("GitHub does not know this token")
        self._stop(customer, "acme-quoted")
        self._leave(customer, "quoted")
        customer = self._customer(chromium, "quoted-zendesk", system="zendesk")
        with stage.street.zendesk.misbehaving(Bad.ECHO, "signing_secret"):
            fill(customer, right(stage, "zendesk") | {"E-mail of an administrator": EMAIL})
            customer.sees("What to do:")
        self._stop(customer, "acme-quoted-zendesk")
        self._leave(customer, "quoted-zendesk")
        customer = self._customer(chromium, "quoted-shopify", system="shopify")
        with stage.street.shopify.misbehaving(Bad.ECHO, "access_token"):
            fill(customer, right(stage, "shopify"))
            consent(customer).locator("#install").click()
            customer.sees("What to do:")
        self._stop(customer, "acme-quoted-shopify")
        self._leave(customer, "quoted-shopify")
        # Signed by the connection's secret, and wrong in itself.
        (hook,) = stage.street.github.hooks.values()
        headers, body = stage.street.github.signed(hook, "issues", {"action": "opened"})
        for change in ({}, {"x-hub-signature-256": f"sha256={hook.secret}"}):
            url = f"http://127.0.0.1:{stage.gateway_ports[0]}/webhooks/acme-github"
            answer = httpx.post(url, headers={**headers, **change}, content=body)
            self._add("answers/gateway", answer.content + repr(answer.headers).encode())

    def _customer(self, chromium: Any, name: str, system: str = "") -> Customer:
        customer = Customer(chromium)
        place = f"browser/{name}"

        def heard(answer: Any) -> None:
            said = repr(answer.all_headers()).encode()
            with contextlib.suppress(Exception):
                said += answer.body()
            self._add(f"{place} answers", said)

        customer.page.on("requestfinished", lambda asked: heard(asked.response()))
        customer.context.on("request", lambda asked: self._add(f"{place} addresses", _safe(asked)))
        customer.page.on("console", lambda said: self._add(f"{place} console", said.text.encode()))
        wanted = {"connection_id": f"acme-{name}"} | ({"system": system} if system else {})
        made = self.stage.session(**wanted)
        self._mark(f"session of {name}", made["token"], made["token"].rpartition("_")[2][12:])
        threading.Thread(target=self._listen, args=(name, made["token"]), daemon=True).start()
        customer.open(made["url"])
        return customer

    def _listen(self, name: str, token: str) -> None:
        """What the stream of changes says, which the browser keeps to itself."""
        url = f"{self.stage.console_url}/connect/api/changes"
        headers = {"authorization": f"Bearer {token}"}
        with (
            contextlib.suppress(httpx.TransportError),
            httpx.stream("GET", url, headers=headers, timeout=60) as stream,
        ):
            for piece in stream.iter_bytes():
                self._add(f"answers/changes of {name}", piece)

    def _stop(self, customer: Customer, connection: str) -> None:
        cancel(customer)
        until(lambda: not {"secrets", "records"} & set(self.stage.left(connection)))

    def _look(self, customer: Customer, name: str) -> None:
        self._add(f"browser/{name} page", str(customer.page.evaluate(_LEFT)).encode())

    def _leave(self, customer: Customer, name: str) -> None:
        self._look(customer, name)
        customer.close()

    def _take_down(self, collector: OtlpCollector) -> None:
        stage = self.stage
        for name in ("github", "shopify", "zendesk"):
            until(lambda n=name: f"acme-{n}" in stage.log_of("consumer"))
        # What vendors gave is as secret as what was entered.
        for token in stage.street.shopify.given:
            self._mark("given by Shopify", token, token.partition("_")[2])
        for webhook in stage.street.zendesk.webhooks.values():
            self._mark("Zendesk's signing secret", webhook.secret, webhook.secret)
        for hook in stage.street.github.hooks.values():
            self._mark("GitHub's signing secret", hook.secret, hook.secret)
        for code in stage.street.shopify.codes:
            self._mark("Shopify's code", code, code)
        self._mark("the API token", stage.token, stage.token.rpartition("_")[2][8:])
        self.sealed = stage.revealed()
        for topic in stage.topics:
            for one in stage.log(topic):
                self._add(f"topics/{topic}", repr(one).encode() + (one.value or b""))
        for name, process in stage.processes.items():
            self._add(f"process list/{name}", Path(f"/proc/{process.pid}/cmdline").read_bytes())
        for path in ("metrics", "livez", "readyz"):
            for name, port in (("gateway", stage.gateway_ports[0]), ("console", stage.console_port),
                               ("consumer", self._health_port)):  # fmt: skip
                url = f"http://127.0.0.1:{port}/{path}"
                self._add(f"metrics/{name} {path}", httpx.get(url).content)
        for page in ("/connections", "/connections/acme-github", "/connect-sessions"):
            answer = stage.api("GET", page)
            self._add("answers/api", answer.content + repr(answer.headers).encode())
        for name, process in stage.processes.items():
            process.stop()
            self._add(f"logs/{name}", process.log_path.read_bytes())
        self._add("traces, metrics and logs/collector", collector.raw())
        for path in sorted(stage.folder.rglob("*")):
            if path.is_file() and path.suffix not in (".log", ".pem"):
                self._add(f"files/{path.name}", path.read_bytes())

    def _add(self, place: str, data: bytes) -> None:
        self.places[place] = self.places.get(place, b"") + b"\n" + data


def _safe(asked: Any) -> bytes:
    """A request's address, but for that of the way back, whose code the standard puts there."""
    url: str = asked.url
    return url.partition("?")[0].encode() if "/callback" in url else url.encode()
