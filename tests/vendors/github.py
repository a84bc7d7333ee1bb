"""GitHub's REST API, as far as one webhook of one repository needs it.

From docs.github.com: "REST API endpoints for repository webhooks", "Troubleshooting the REST API",
"Scopes for OAuth apps", "Webhook events and payloads" (ping), "Validating webhook deliveries".
"""

from __future__ import annotations

import hmac
import json
import re
from itertools import count
from uuid import uuid4

import msgspec

from tests.outgoing.certificates import Authority
from tests.vendors.delivery import Deliveries
from tests.vendors.serving import Answer, Asked, Vendor

_REPOSITORY = re.compile(r"/repos/([^/]+/[^/]+)(/hooks(?:/(\d+)(/config)?)?)?")
_DOCS = "https://docs.github.com/rest"


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What a token may. `scopes` is None for a fine-grained one, which has permissions."""

    repositories: frozenset[str]
    scopes: tuple[str, ...] | None = None
    webhooks: bool = True
    login: str = "octocat"


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook of a repository."""

    id: int
    repository: str
    url: str
    secret: str
    events: tuple[str, ...]


class GitHub(Vendor):
    """`api.github.com`."""

    system = "github"
    hosts = ("api.github.com",)
    kept = frozenset({"id"})

    def __init__(self, authority: Authority, deliveries: Deliveries) -> None:
        self.tokens: dict[str, Token] = {}
        self.hooks: dict[int, Hook] = {}
        self._ids = count(470_000_001)
        super().__init__(authority, deliveries)

    def present(self) -> list[str]:
        """See Vendor."""
        return [str(one) for one in self.hooks]

    def answer(self, asked: Asked) -> Answer:
        """See Vendor."""
        if not asked.headers.get("user-agent"):
            return _refused(403, "Request forbidden by administrative rules.")
        scheme, _, value = asked.headers.get("authorization", "").partition(" ")
        token = self.tokens.get(value) if scheme.lower() in ("bearer", "token") else None
        if token is None:
            return _refused(401, "Bad credentials")
        headers = {"x-github-request-id": uuid4().hex, "x-ratelimit-remaining": "4999"}
        if token.scopes is not None:
            headers["x-oauth-scopes"] = ", ".join(token.scopes)
        answer = self._routed(asked, token)
        return msgspec.structs.replace(answer, headers=headers)

    def _routed(self, asked: Asked, token: Token) -> Answer:
        if asked.path == "/user" and asked.method == "GET":
            return Answer(json={"id": 583231, "login": token.login, "type": "User"})
        found = _REPOSITORY.fullmatch(asked.path)
        # What a token may not see is not there for it.
        if found is None or found[1] not in token.repositories:
            return _refused(404, "Not Found")
        repository = found[1]
        if found[2] is None:
            return Answer(json=_repository(repository))
        if token.scopes is not None and not {"repo", "admin:repo_hook"} & set(token.scopes):
            if not (asked.method == "POST" and "write:repo_hook" in token.scopes):
                return _refused(404, "Not Found")
        elif not token.webhooks:
            return _refused(403, "Resource not accessible by personal access token")
        if asked.method == "POST" and found[3] is None:
            return self._create(asked, repository)
        if found[3] is None:
            return Answer(json=[_hook(one) for one in self.hooks.values()])
        hook = self.hooks.get(int(found[3]))
        if hook is None or hook.repository != repository:
            return _refused(404, "Not Found")
        if asked.method == "DELETE":
            del self.hooks[hook.id]
            return Answer(status=204)
        if asked.method == "PATCH" and found[4] is not None:
            # "Update a webhook configuration for a repository": what is not said stays.
            config = asked.json() or {}
            self.hooks[hook.id] = hook = msgspec.structs.replace(
                hook, **{name: config[name] for name in ("url", "secret") if name in config}
            )
            return Answer(json=_hook(hook)["config"])
        return Answer(json=_hook(hook))

    def _create(self, asked: Asked, repository: str) -> Answer:
        wanted = asked.json() or {}
        config = wanted.get("config") or {}
        if wanted.get("name") != "web" or not config.get("url"):
            return _invalid({"resource": "Hook", "code": "custom", "message": "Invalid config"})
        mine = [one for one in self.hooks.values() if one.repository == repository]
        if any(one.url == config["url"] for one in mine):
            exists = "Hook already exists on this repository"
            return _invalid({"resource": "Hook", "code": "custom", "message": exists})
        if len(mine) >= 20:
            many = 'The "push" event cannot have more than 20 hooks'
            return _invalid({"resource": "Hook", "code": "custom", "message": many})
        hook = Hook(
            id=next(self._ids),
            repository=repository,
            url=config["url"],
            secret=config.get("secret", ""),
            events=tuple(wanted.get("events") or ("push",)),
        )
        self.hooks[hook.id] = hook
        ping = {
            "zen": "Keep it logically awesome.",
            "hook_id": hook.id,
            "hook": _hook(hook),
            "repository": _repository(repository),
            "sender": {"login": "octocat", "id": 583231, "type": "User"},
        }
        self.send(hook, "ping", ping)
        return Answer(status=201, json=_hook(hook))

    def send(self, hook: Hook, event: str, payload: object) -> None:
        """A webhook, signed."""
        headers, body = self.signed(hook, event, payload)
        self.deliveries.later(hook.url, event, headers, body)

    def signed(self, hook: Hook, event: str, payload: object) -> tuple[dict[str, str], bytes]:
        """Its headers and its body."""
        body = json.dumps(payload).encode()
        digest = hmac.digest(hook.secret.encode(), body, "sha256").hex()
        headers = {
            "user-agent": "GitHub-Hookshot/044aadd",
            "x-github-event": event,
            "x-github-delivery": str(uuid4()),
            "x-github-hook-id": str(hook.id),
            "x-github-hook-installation-target-type": "repository",
            "x-hub-signature-256": f"sha256={digest}",
        }
        return headers, body

    def limited(self) -> Answer:
        """The primary limit: 403, and nothing is left."""
        headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "4102444800"}
        refused = _refused(403, "API rate limit exceeded for user ID 583231.")
        return msgspec.structs.replace(refused, headers=headers)


def _refused(status: int, message: str) -> Answer:
    told = {"message": message, "documentation_url": _DOCS, "status": str(status)}
    return Answer(status=status, json=told)


def _invalid(error: dict[str, str]) -> Answer:
    told = {"message": "Validation Failed", "errors": [error], "documentation_url": _DOCS}
    return Answer(status=422, json=told)


def _repository(name: str) -> dict[str, object]:
    owner = name.partition("/")[0]
    return {
        "id": 1_296_269,
        "name": name.partition("/")[2],
        "full_name": name,
        "private": True,
        "owner": {"login": owner, "id": 9_919, "type": "Organization"},
        "updated_at": "2026-11-20T10:00:00Z",
    }


def _hook(hook: Hook) -> dict[str, object]:
    config = {"url": hook.url, "content_type": "json", "insecure_ssl": "0", "secret": "********"}
    return {
        "type": "Repository",
        "id": hook.id,
        "name": "web",
        "active": True,
        "events": list(hook.events),
        "config": config,
        "created_at": "2026-11-30T10:00:00Z",
        "updated_at": "2026-11-30T10:00:00Z",
    }
