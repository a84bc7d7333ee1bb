"""What a hostile system answers is bounded before it is kept, and makes us ask it no more often."""

from __future__ import annotations

import asyncio
import json

import pytest

from credentials.secret import Secret
from producer.connect.calls import Unanswered
from producer.connect.oauth import OAuthApp, TokenClient
from producer.outgoing.answers import OutgoingAnswer
from tests.connect.systems import OAUTH, system

SYSTEM = system("consent", authorisation=OAUTH, validation={"path": "/me", "keep": {"org": "/org"}})


@pytest.mark.parametrize(
    "webhook_id", ["1\n" * 100_000, "x" * 501, "one\u2028two", "a\x00b", True, 1.5, ["1"], {}]
)
def test_an_id_that_is_none_is_not_taken_for_one(webhook_id: object) -> None:
    # A cancelled flow asks the system once for each line of what is kept as its webhooks' ids.
    assert SYSTEM.webhook.registration.ids({"id": webhook_id}) == []
    assert SYSTEM.validation is not None
    assert SYSTEM.validation.kept({"org": webhook_id}) == {}


def test_an_id_that_is_one_stays_as_it_is() -> None:
    assert SYSTEM.webhook.registration.ids({"id": "0f3-" + "x" * 400}) == ["0f3-" + "x" * 400]
    assert SYSTEM.webhook.registration.ids({"id": 12}) == ["12"]


class Answering:
    """A token endpoint with one answer."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    async def request(self, method: str, url: str, **more: object) -> OutgoingAnswer:
        return OutgoingAnswer(status=200, headers={}, body=self.body, took_ms=1, url=url)


def exchanged(body: bytes) -> object:
    async def resolve(ref: str) -> Secret:
        raise AssertionError(ref)

    client = TokenClient(Answering(body), {"consent": OAuthApp(client_id="c")}, resolve)
    values = {"address": "https://vendor.example"}
    return asyncio.run(client.exchange(SYSTEM, values, Secret("code"), None, "https://ours"))


def test_scopes_and_tokens_are_kept_up_to_a_bound() -> None:
    answer = {"access_token": "t", "refresh_token": "r" * 20_000, "scope": "a " * 400_000}
    tokens = exchanged(json.dumps(answer).encode())
    assert len(tokens.scopes) <= 8_000  # type: ignore[attr-defined]
    assert tokens.refresh is None  # type: ignore[attr-defined]


def test_an_answer_that_is_nested_without_end_is_not_the_systems() -> None:
    with pytest.raises(Unanswered) as refused:
        exchanged(b"[" * 500_000)
    assert refused.value.explanation.code in ("not_the_system", "code_refused")
