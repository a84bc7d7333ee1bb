"""A connection's life by the API alone, over the real processes: made, tried, paused, rotated,
deleted; and that nothing of it is left, at the vendor, in the sealed file, on Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.connect_flow.stage import REPOSITORY, Stage, until
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def stage(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(kafka, tmp_path_factory.mktemp("whole-life"))
    try:
        made.start()
        yield made
    finally:
        made.close()


def connect(stage: Stage, name: str) -> None:
    """What the customer's browser would do, without one."""
    key = {"idempotency-key": name}
    wanted = {"tenant": "acme", "connection_id": name, "system": "github"}
    made = stage.api("POST", "/connect-sessions", wanted, **key)
    again = stage.api("POST", "/connect-sessions", wanted, **key)
    assert made.status_code == 201, made.text
    assert again.content == made.content
    session = made.json()
    headers = {"authorization": f"Bearer {session['token']}"}
    url = f"{stage.console_url}/connect/api"
    view = httpx.get(f"{url}/state", headers=headers).json()
    values = {"repository": REPOSITORY, "token": stage.credentials["github"]}
    body = {"action": "details", "revision": view["revision"], "values": values}
    assert httpx.post(f"{url}/actions", json=body, headers=headers).status_code == 200

    def step() -> Any:
        return stage.api("GET", f"/connect-sessions/{session['session']}").json()["step"]

    until(lambda: step() == "connected")


def test_a_connection_from_its_making_to_its_end(stage: Stage) -> None:
    name = f"acme-{uuid4().hex[:8]}"
    connect(stage, name)
    one = stage.api("GET", f"/connections/{name}")
    assert one.status_code == 200, one.text
    assert (one.json()["system"], one.json()["state"]) == ("github", "active")
    listed = stage.api("GET", "/connections?system=github&state=active").json()["connections"]
    assert name in [found["id"] for found in listed]
    # A second one of this name is not made.
    taken = stage.api(
        "POST", "/connect-sessions", {"tenant": "acme", "connection_id": name, "system": "github"}
    )
    assert taken.json()["type"] == "urn:hookline:api:exists"

    tried = stage.api("POST", f"/connections/{name}/test")
    assert tried.status_code == 200, tried.text
    assert tried.json()["passed"] is True, tried.text
    for action, state in (("pause", "paused"), ("resume", "active")):
        assert stage.api("POST", f"/connections/{name}/{action}").json()["state"] == state
    before = set(stage.secrets(name))
    (hook,) = stage.street.github.hooks.values()
    signed_with = hook.secret
    rotated = stage.api("POST", f"/connections/{name}/rotate-secret", {"overlap_s": 3600})
    assert rotated.status_code == 200, rotated.text
    (added,) = set(stage.secrets(name)) - before
    (hook,) = stage.street.github.hooks.values()
    assert hook.secret != signed_with
    assert added.endswith(rotated.json()["added"])
    assert len(stage.street.github.hooks) == 1

    gone = stage.api("DELETE", f"/connections/{name}")
    assert gone.json() == {"removed": True, "left_over": []}, gone.text
    assert stage.left(name) == {}
    assert stage.api("GET", f"/connections/{name}").status_code == 404
    assert stage.api("DELETE", f"/connections/{name}").status_code == 404
    for process in ("console", "gateway"):
        assert "Traceback" not in stage.log_of(process)
    actions = stage.command("audit", "list", "--json")
    for action in ("connect_session.create", "connection.pause", "secret.rotate"):
        assert action in actions
    assert "connection.remove" in actions
