"""A few thousand distinct, signed GitHub requests, written once as the bytes that go out.

Signing and building them while measuring would cost the load generator more than the server.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from producer.providers.github import GitHub, GitHubOptions

PATH: Final = "/webhooks/acme-github"
SECRET: Final = "a-secret-of-the-benchmark"
_PAYLOADS: Final = Path(__file__).parents[2] / "examples" / "payloads" / "github"
_ENTITIES: Final = 500
#: A real payload names these of each repository; they are the greater part of its size.
_LINKS: Final = (
    "archive", "assignees", "blobs", "branches", "collaborators", "comments", "commits",
    "compare", "contents", "contributors", "deployments", "downloads", "events", "forks",
    "git_commits", "git_refs", "git_tags", "hooks", "issue_comment", "issue_events", "issues",
    "keys", "labels", "languages", "merges", "milestones", "notifications", "pulls", "releases",
    "stargazers", "statuses", "subscribers", "subscription", "tags", "teams", "trees",
)  # fmt: skip


def signed_requests(count: int, seed: int = 1) -> list[bytes]:
    """That many whole HTTP requests, from about 4 to 7 kB; always the same for a seed."""
    draw = random.Random(seed)
    provider = GitHub(GitHubOptions())
    key = provider.load_key(SECRET)
    templates = [
        (path.stem, json.loads(path.read_text("utf-8")))
        for path in sorted(_PAYLOADS.glob("*.json"))
        # Sent once in a hook's life.
        if path.stem != "ping"
    ]
    requests = []
    for number in range(count):
        event_type, payload = templates[number % len(templates)]
        body = _body(payload, draw)
        delivery = str(UUID(int=draw.getrandbits(128), version=4))
        signed = provider.sign(body, key, event_id=delivery, event_type=event_type, now_s=0.0)
        headers = {
            "host": "127.0.0.1",
            "user-agent": "GitHub-Hookshot/044aadd",
            "accept": "*/*",
            "content-length": str(len(body)),
            "x-github-hook-id": "292430182",
            "x-github-hook-installation-target-id": "79929171",
            "x-github-hook-installation-target-type": "repository",
            **signed,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        requests.append(f"POST {PATH} HTTP/1.1\r\n{lines}\r\n".encode() + body)
    return requests


def write(path: Path, requests: list[bytes]) -> None:
    """For the load generator: each with its length in a line before it."""
    with path.open("wb") as file:
        for request in requests:
            file.write(b"%d\n" % len(request) + request)


def _body(template: dict[str, Any], draw: random.Random) -> bytes:
    payload = dict(template)
    repository = payload["repository"]
    full_name = repository["full_name"]
    payload["repository"] = repository | {
        f"{link}_url": f"https://api.github.example.test/repos/{full_name}/{link}{{/number}}"
        for link in _LINKS
    }
    number = draw.randrange(1, _ENTITIES)
    for name in ("issue", "pull_request"):
        if name in payload:
            payload[name] = payload[name] | {"number": number}
    for name in ("release", "workflow_run"):
        if name in payload:
            payload[name] = payload[name] | {"id": 5_000_000 + number}
    if "ref" in payload:
        payload["ref"] = f"refs/heads/topic-{number}"
    if "issue" not in payload and "pull_request" not in payload:
        payload["repository"]["id"] = 418_820_000 + number
    payload["sender"] = payload["sender"] | {"id": draw.getrandbits(32)}
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
