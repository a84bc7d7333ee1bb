"""A connection that a customer has made is refused by three gateways within a second of its
revocation, and its deletion leaves nothing: not at the vendor, not among the secrets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.connect_flow.customer import Customer, github
from tests.connect_flow.revocation import measure
from tests.connect_flow.stage import Stage, until


@pytest.mark.kafka
def test_three_gateways_refuse_within_a_second(stage: Stage, chromium: Any) -> None:
    connection = "acme-revoked"
    customer = Customer(chromium)
    customer.open(stage.session(connection_id=connection)["url"])
    github(stage, customer)
    customer.close()
    (hook,) = stage.street.github.hooks.values()
    headers, body = stage.street.github.signed(hook, "push", {"ref": "refs/heads/main"})
    headers["content-type"] = "application/json"
    found = measure(stage, connection, {"headers": headers, "body": body})
    print(found)
    assert len(found.first_refusal_ms) == 3
    assert max(found.first_refusal_ms) < 1_000
    assert found.let_in_again == 0
    shown = stage.api("GET", f"/connections/{connection}").json()
    assert shown["state"] == "revoked"
    # Revoked is for good: it is neither resumed nor connected again under its name.
    assert stage.api("POST", f"/connections/{connection}/resume").status_code == 409
    gone = stage.api("DELETE", f"/connections/{connection}")
    assert gone.json() == {"removed": True, "left_over": []}
    until(lambda: not {"webhooks", "secrets"} & set(stage.left(connection)))
