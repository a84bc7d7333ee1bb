"""The vendors of the tests do what the vendors' documentation says, or nothing is shown by them."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from credentials.key_ring import Key
from producer.connect.systems import Catalogue
from producer.providers.provider import Request, Verified
from producer.providers.registry import build
from tests.outgoing.certificates import Authority
from tests.providers.http_request import RepeatableHeaders
from tests.vendors.github import Token
from tests.vendors.misbehaviour import SCRIPT, Misbehaviour
from tests.vendors.serving import Vendor
from tests.vendors.shopify import App
from tests.vendors.street import Street
from tests.vendors.zendesk import Agent

TOKEN = "ghp_" + "a" * 36
HOOKS = "/repos/northwind/shop/hooks"
CALLBACK = "http://127.0.0.1:9/connect/callback"


class Receiver:
    """Where webhooks go: over TLS, as `hooks.test`."""

    def __init__(self, authority: Authority) -> None:
        self.came: list[tuple[dict[str, str], bytes]] = []
        came = self.came

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                came.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = authority.server("hooks.test")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def wait(self) -> tuple[dict[str, str], bytes]:
        deadline_s = time.monotonic() + 10
        while not self.came:
            assert time.monotonic() < deadline_s, "no webhook came"
            time.sleep(0.02)
        return self.came.pop(0)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    made = Street(tmp_path_factory.mktemp("street"))
    made.github.tokens[TOKEN] = Token(repositories=frozenset({"northwind/shop"}), scopes=("repo",))
    agents = [
        Agent(email="noor@northwind.test", token="t" * 40),
        Agent(email="agent@northwind.test", token="u" * 40, administrator=False),
    ]
    made.zendesk.agents["northwind"] = agents
    made.shopify.shops.add("northwind-tea")
    made.shopify.app = App(client_id="app", client_secret="shpss_1", redirect_uri=CALLBACK)
    yield made
    made.close()


@pytest.fixture
def receiver(street: Street) -> Iterator[Receiver]:
    made = Receiver(street.authority)
    street.deliveries.ports["hooks.test"] = made.port
    yield made
    made.close()


def ask(
    street: Street, vendor: Vendor, path: str, *, host: str = "", method: str = "GET", **more: Any
) -> httpx.Response:
    name = host or vendor.hosts[0]
    headers = {"host": f"{name}:{vendor.port}", **more.pop("headers", {})}
    context = ssl.create_default_context(cafile=street.authority.file)
    with httpx.Client(verify=context, timeout=10) as client:
        return client.request(
            method,
            f"https://127.0.0.1:{vendor.port}{path}",
            headers=headers,
            extensions={"sni_hostname": name},
            **more,
        )


def verified(provider: str, secret: str, headers: dict[str, str], body: bytes, **options: Any):  # type: ignore[no-untyped-def]
    """What our own module says of a webhook; the vendors sign by the standard library alone."""
    built = build(provider, options)
    request = Request(RepeatableHeaders(list(headers.items())), body)
    key = Key("connect", built.load_key(secret))
    return built.verify(request, [key], time.time())


def test_github(street: Street, receiver: Receiver) -> None:
    def github(path: str, token: str = TOKEN, **more: Any) -> httpx.Response:
        return ask(
            street, street.github, path, headers={"authorization": f"Bearer {token}"}, **more
        )

    user = github("/user")
    assert user.json()["login"] == "octocat"
    assert user.headers["x-oauth-scopes"] == "repo"
    assert github("/user", "ghp_wrong").json()["message"] == "Bad credentials"
    assert github("/repos/northwind/other").status_code == 404
    config = {"url": "https://hooks.test/webhooks/a", "content_type": "json", "secret": "s3"}
    wanted = {"name": "web", "active": True, "events": ["push"], "config": config}
    made = github(HOOKS, method="POST", json=wanted)
    assert made.status_code == 201
    headers, body = receiver.wait()
    assert headers["x-github-event"] == "ping"
    assert isinstance(verified("github", "s3", headers, body), Verified)
    assert not isinstance(verified("github", "s4", headers, body), Verified)
    again = github(HOOKS, method="POST", json=wanted)
    assert again.status_code == 422
    assert "already exists" in again.text
    gone = f"{HOOKS}/{made.json()['id']}"
    assert [github(gone, method="DELETE").status_code for _ in range(2)] == [204, 404]
    street.github.tokens["few"] = Token(repositories=frozenset({"northwind/shop"}), scopes=())
    assert github(HOOKS, "few", method="POST", json=wanted).status_code == 404
    fine = Token(repositories=frozenset({"northwind/shop"}), webhooks=False)
    street.github.tokens["fine"] = fine
    assert github(HOOKS, "fine", method="POST", json=wanted).status_code == 403
    assert "x-oauth-scopes" not in github("/user", "fine").headers
    street.github.misbehave(Misbehaviour.LIMITED)
    assert github("/user").headers["x-ratelimit-remaining"] == "0"
    street.behave()


def test_zendesk(street: Street, receiver: Receiver) -> None:
    def zendesk(path: str, who: str = "noor", host: str = "northwind", **more: Any):  # type: ignore[no-untyped-def]
        password = {"noor": "t", "agent": "u"}.get(who, "x") * 40
        auth = (f"{who}@northwind.test/token", password)
        return ask(street, street.zendesk, path, host=f"{host}.zendesk.com", auth=auth, **more)

    path = "/api/v2/webhooks"
    assert zendesk(path).json()["webhooks"] == []
    assert zendesk(path, "nobody").status_code == 401
    assert zendesk(path, "agent").status_code == 403
    assert zendesk(path, host="nowhere").status_code == 404
    event = "zen:event-type:ticket.created"
    wanted = {
        "name": "a", "status": "active", "endpoint": "https://hooks.test/webhooks/b",
        "http_method": "POST", "request_format": "json", "subscriptions": [event],
    }  # fmt: skip
    plain = zendesk(path, method="POST", json={"webhook": {**wanted, "endpoint": "http://x"}})
    assert plain.status_code == 400
    made = zendesk(path, method="POST", json={"webhook": wanted}).json()["webhook"]
    assert "secret" not in str(made)
    secret = zendesk(f"{path}/{made['id']}/signing_secret").json()["signing_secret"]["secret"]
    assert street.zendesk.make_ticket("northwind") == 1
    headers, body = receiver.wait()
    assert isinstance(verified("zendesk", secret, headers, body), Verified)
    assert not isinstance(verified("zendesk", "other", headers, body), Verified)
    gone = f"{path}/{made['id']}"
    assert [zendesk(gone, method="DELETE").status_code for _ in range(2)] == [204, 404]


def test_shopify(street: Street, receiver: Receiver) -> None:
    def shopify(path: str, host: str = "northwind-tea", **more: Any) -> httpx.Response:
        return ask(street, street.shopify, path, host=f"{host}.myshopify.com", **more)

    asked = {"client_id": "app", "redirect_uri": CALLBACK, "scope": "read_orders", "state": "s&1"}
    assert shopify("/admin/oauth/authorize", "nowhere", params=asked).status_code == 404
    wrong = {**asked, "redirect_uri": "http://evil.test/"}
    assert shopify("/admin/oauth/authorize", params=wrong).status_code == 400
    page = shopify("/admin/oauth/authorize", params=asked)
    assert "Install" in page.text
    denied = shopify("/admin/oauth/grant", params={**asked, "answer": "cancel"})
    back = httpx.URL(denied.headers["location"]).params
    assert (back["error"], back["state"]) == ("access_denied", "s&1")
    granted = shopify("/admin/oauth/grant", params={**asked, "answer": "install"})
    back = httpx.URL(granted.headers["location"]).params
    form = {"client_id": "app", "client_secret": "shpss_1", "code": back["code"], "expiring": "1"}
    first = shopify("/admin/oauth/access_token", method="POST", data=form)
    assert first.json()["expires_in"] == 3600
    again = shopify("/admin/oauth/access_token", method="POST", data=form)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_request")
    graphql = "/admin/api/2026-07/graphql.json"

    def api(query: str, **variables: Any) -> httpx.Response:
        token = {"x-shopify-access-token": first.json()["access_token"]}
        more = {"query": query, "variables": variables}
        return shopify(graphql, method="POST", headers=token, json=more)

    assert shopify(graphql, method="POST", json={"query": "query { shop }"}).status_code == 401
    assert api("query { shop { id name } }").json()["data"]["shop"]["name"] == "Northwind Tea"
    create = (
        "mutation ($hook: X) { products: webhookSubscriptionCreate(topic: PRODUCTS_UPDATE, x: 1) }"
    )
    hook = {"uri": "https://hooks.test/webhooks/c", "format": "JSON"}
    made = api(create, hook=hook).json()["data"]["products"]
    taken = api(create, hook=hook).json()["data"]["products"]
    assert "already been taken" in taken["userErrors"][0]["message"]
    assert street.shopify.edit_product("northwind-tea") == 1
    headers, body = receiver.wait()
    domain = {"shop_domain": "northwind-tea.myshopify.com"}
    assert isinstance(verified("shopify", "shpss_1", headers, body, **domain), Verified)
    assert not isinstance(verified("shopify", "shpss_2", headers, body, **domain), Verified)
    gone = api(
        "mutation ($id: ID!) { webhookSubscriptionDelete(id: $id) { x } }",
        id=made["webhookSubscription"]["id"],
    )
    assert gone.json()["data"]["webhookSubscriptionDelete"]["userErrors"] == []
    assert street.shopify.present() == []


def test_each_misbehaves_when_told_to(street: Street) -> None:
    vendor = street.github

    def user() -> httpx.Response:
        return ask(street, vendor, "/user", headers={"authorization": f"Bearer {TOKEN}"})

    with vendor.misbehaving(Misbehaviour.WRONG_CERTIFICATE), pytest.raises(httpx.ConnectError):
        user()
    for how in (Misbehaviour.DROP, Misbehaviour.DROP_AFTER):
        with vendor.misbehaving(how), pytest.raises(httpx.TransportError):
            user()
    with vendor.misbehaving(Misbehaviour.HTML):
        assert user().text.startswith("<!doctype")
    with vendor.misbehaving(Misbehaviour.FAILING):
        assert user().status_code == 500
    with vendor.misbehaving(Misbehaviour.SCRIPTED):
        assert user().json()["login"] == f"octocat{SCRIPT}"
    with vendor.misbehaving(Misbehaviour.SKEWED):
        at = parsedate_to_datetime(user().headers["date"])
        assert time.time() - at.timestamp() > 1_000
    with vendor.misbehaving(Misbehaviour.HANG, on="/other"):
        assert user().json()["login"] == "octocat"
    assert user().json()["login"] == "octocat"


def test_the_catalogue_leads_here_and_is_else_ours(street: Street, tmp_path: Path) -> None:
    here = Catalogue.load(street.catalogue(tmp_path / "catalogue"))
    ours = Catalogue.load()
    for vendor in street.vendors:
        one, other = here.get(vendor.system), ours.get(vendor.system)
        assert one is not None
        assert other is not None
        moved = one.model_dump_json().replace(f":{vendor.port}", "")
        assert moved == other.model_dump_json()
        assert moved != one.model_dump_json()
