"""schemathesis over the document: whatever is sent, no 5xx, and each answer is as it says.

The same requests each time, and few of them: what is here is a net, not a search.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from starlette.applications import Starlette
from starlette.responses import JSONResponse

from console.access.throttle import Throttle
from console.api.document import document
from console.api.operations import DOCUMENT
from schemas.connection import ConnectionState
from tests.api.stage import SYSTEMS, ApiStage

GENERATED = next(one.id for one in SYSTEMS if one.webhook.secret.source == "generated")


class Served:
    """The document while tests are collected, then an API."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await Starlette()(scope, receive, send)
        else:
            await (self.app or JSONResponse(document()))(scope, receive, send)


SERVED = Served()


@pytest.fixture(scope="module")
def api_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiStage]:
    """With connections of each kind, of the ids that are tried first."""
    made = ApiStage(tmp_path_factory.mktemp("api"))
    made.have("0", system=GENERATED)
    made.have("a", state=ConnectionState.PAUSED)
    made.have("c")
    SERVED.app = made.app
    yield made
    SERVED.app = None
    made.close()


#: Which systems there are and what a cursor is, no schema says: there what is well-formed may be
#: refused. Everywhere else it is not.
CONFIG = schemathesis.Config.from_dict(
    {
        "operations": [
            {
                "include-operation-id": ["createConnectSession", "listConnections"],
                "checks": {
                    "positive_data_acceptance": {"expected-statuses": ["2xx", "409", "422"]},
                },
            }
        ]
    }
)
schema = schemathesis.openapi.from_asgi(DOCUMENT, SERVED, config=CONFIG)


@schema.parametrize()
@settings(
    max_examples=20,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_the_document_says(case: Any, api_of_all: ApiStage) -> None:
    # It also tries tokens that are none, for which the gate would let the address wait.
    api_of_all.stage.gate.throttle = Throttle()
    case.call_and_validate(headers={"Authorization": f"Bearer {api_of_all.stage.token()}"})
