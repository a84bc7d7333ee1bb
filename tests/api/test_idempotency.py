"""Idempotency keys: one key, one deed, one answer; over several replicas, and sealed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from console.api.answer_ledger import AnswerLedger
from console.api.kept_answers import Asked, InProgress, KeptAnswer, KeptAnswers, Taken
from producer.connect.service import FlowRefused
from schemas.api_answer import AnswerKey, AnswerPhase, ApiAnswer
from schemas.connect_codec import API_ANSWER
from schemas.connect_session import SessionKey
from tests.api.stage import ENVIRONMENT, ApiStage, MemoryTopic

SESSIONS = "/api/v1/connect-sessions"
BODY = {"tenant": "acme"}


def post(client: Any, key: str, body: object = BODY, where: str = SESSIONS) -> Any:
    return client.post(where, json=body, headers={"Idempotency-Key": key})


def test_the_same_answer_from_every_replica_and_nothing_twice(api: ApiStage) -> None:
    token = api.stage.token()
    one = api.client(token=token)
    other = api.client(token=token, app=api.build(api.replica_answers()))
    first = post(one, "k1")
    assert first.status_code == 201
    assert "idempotency-replayed" not in first.headers
    for client in (one, other):
        again = post(client, "k1")
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
    # One that starts later reads it from the topic.
    late = api.client(token=token, app=api.build(api.replica_answers()))
    assert post(late, '"k1"').content == first.content
    assert len(api.service._flows) == 1
    assert post(one, "k2").json()["session"] != first.json()["session"]


def test_another_request_with_the_key_is_refused(api: ApiStage) -> None:
    api.have()
    client = api.client()
    assert post(client, "k1").status_code == 201
    for body, where in (
        ({"tenant": "other"}, SESSIONS),
        ({}, "/api/v1/connections/acme-github/pause"),
    ):
        answer = post(client, "k1", body, where)
        assert answer.status_code == 422
        assert answer.json()["type"] == "urn:hookline:api:key_reused"
    # Another token's key is another key.
    assert post(api.client(), "k1", {"tenant": "other"}).status_code == 201


def test_what_did_not_succeed_is_tried_again(api: ApiStage) -> None:
    client = api.client()
    api.service.refuse = [FlowRefused("unavailable", "away"), FlowRefused("exists", "there")]
    assert [post(client, "k1").status_code for _ in range(4)] == [503, 409, 201, 201]
    assert len(api.service._flows) == 1


def test_a_malformed_key_is_told(api: ApiStage) -> None:
    client = api.client()
    for key in (b"", b" ", b"a b", b'"unclosed', b"x" * 201, b"a,b", "Ü".encode()):
        answer = client.post(SESSIONS, json=BODY, headers=[(b"idempotency-key", key)])
        assert answer.status_code == 400, key
        assert answer.json()["errors"][0]["parameter"] == "Idempotency-Key"
    headers = [("idempotency-key", "a"), ("idempotency-key", "b")]
    assert client.post(SESSIONS, json=BODY, headers=headers).status_code == 400
    assert len(api.service._flows) == 0


def test_while_the_first_is_under_way_the_second_is_told_so(api: ApiStage) -> None:
    client = api.client()
    seen: list[Any] = []
    create = api.service.create

    async def slow(wanted: Any) -> Any:
        # Asked by another replica, in the middle of the first.
        def ask() -> None:
            other = api.build(api.replica_answers())
            token = client.headers["authorization"].removeprefix("Bearer ")
            seen.append(post(api.client(token=token, app=other), "k1"))

        if not seen:
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
        return await create(wanted)

    api.service.create = slow  # type: ignore[method-assign]
    assert post(client, "k1").status_code == 201
    assert seen[0].status_code == 409
    assert seen[0].json()["type"] == "urn:hookline:api:key_in_progress"
    assert seen[0].headers["retry-after"] == "1"
    assert len(api.service._flows) == 1


def test_nothing_on_the_topic_says_what_was_answered(api: ApiStage) -> None:
    client = api.client()
    made = post(client, "my-key").json()
    written = b"".join(key + (value or b"") for key, value in api.sessions.records)
    token = client.headers["authorization"].removeprefix("Bearer ")
    for secret in (made["token"], made["session"], token, "my-key", "acme"):
        assert secret.encode() not in written
    # Who follows sessions takes no notice.
    assert all(SessionKey.decode(key) is None for key, _ in api.sessions.records)


def test_kafka_away_does_nothing(api: ApiStage) -> None:
    api.sessions.away = True
    answer = post(api.client(), "k1")
    assert answer.status_code == 503
    assert len(api.service._flows) == 0
    assert api.client().post(SESSIONS, json=BODY).status_code == 201


def asked(key: str = "k", body: bytes = b"{}", presented: str = "hl_x") -> Asked:
    return Asked(token_id="t", presented=presented, key=key, method="POST", path="/p", body=body)


def test_of_two_that_take_a_key_at_once_the_first_on_the_topic_has_it() -> None:
    topic = MemoryTopic()
    replicas = [KeptAnswers(topic, ENVIRONMENT, now_us=lambda: 1) for _ in range(2)]
    for one in replicas:
        topic.listen(one)
    first, second = replicas
    taken: list[Taken | KeptAnswer] = []
    # Between the second's look and its write.
    topic.before = [lambda: taken.append(first.take(asked()))]
    with pytest.raises(InProgress):
        second.take(asked())
    (mine,) = taken
    assert isinstance(mine, Taken)
    first.done(mine, KeptAnswer(status=201, body=b"made"))
    assert second.take(asked()) == KeptAnswer(status=201, body=b"made")


def test_compaction_never_leaves_the_losers_record_alone() -> None:
    topic = MemoryTopic()
    replicas = [KeptAnswers(topic, ENVIRONMENT, now_us=lambda: 1) for _ in range(2)]
    for one in replicas:
        topic.listen(one)
    first, second = replicas

    def whole() -> None:
        mine = first.take(asked())
        assert isinstance(mine, Taken)
        first.done(mine, KeptAnswer(status=201, body=b"made"))

    topic.before = [whole]
    assert second.take(asked()) == KeptAnswer(status=201, body=b"made")
    # As compaction would have it: the last of each key.
    compacted = MemoryTopic()
    compacted.records = list(dict(topic.records).items())
    late = KeptAnswers(compacted, ENVIRONMENT, now_us=lambda: 1)
    compacted.listen(late)
    assert late.take(asked()) == KeptAnswer(status=201, body=b"made")


def record(phase: AnswerPhase, writer: str = "a", at_us: int = 0, number: int = 0) -> ApiAnswer:
    return ApiAnswer(
        id=f"{number:032x}", environment=ENVIRONMENT, request=bytes(16), writer=writer,
        phase=phase, at_us=at_us, status=201, sealed=b"x" * 100,
    )  # fmt: skip


def apply(ledger: AnswerLedger, *records: ApiAnswer) -> None:
    for one in records:
        key = AnswerKey(ENVIRONMENT, one.id).encode()
        ledger.apply(key, API_ANSWER.encode(one), ledger.next_offset)


STARTED, DONE, RELEASED = AnswerPhase.STARTED, AnswerPhase.DONE, AnswerPhase.RELEASED
ID = f"{0:032x}"
MINUTE = 60_000_000


def test_what_died_is_taken_over_and_its_late_word_does_not_count() -> None:
    ledger = AnswerLedger(ENVIRONMENT)
    apply(ledger, record(STARTED, "a"), record(STARTED, "b", MINUTE))
    found = ledger.get(ID, MINUTE)
    assert found is not None
    assert found.writer == "a"
    assert ledger.get(ID, 3 * MINUTE) is None
    apply(ledger, record(STARTED, "c", 3 * MINUTE), record(DONE, "a", 3 * MINUTE))
    found = ledger.get(ID, 3 * MINUTE)
    assert found is not None
    assert (found.writer, found.phase) == ("c", STARTED)
    apply(ledger, record(RELEASED, "a", 3 * MINUTE))
    assert ledger.get(ID, 3 * MINUTE) is not None
    apply(ledger, record(RELEASED, "c", 3 * MINUTE))
    assert ledger.get(ID, 3 * MINUTE) is None


def test_an_answer_is_kept_for_a_day_and_their_number_is_bounded() -> None:
    ledger = AnswerLedger(ENVIRONMENT, max_answers=10)
    apply(ledger, record(STARTED), record(DONE))
    assert ledger.get(ID, 24 * 60 * MINUTE) is not None
    assert ledger.get(ID, 24 * 60 * MINUTE + 1) is None
    apply(ledger, *(record(DONE, number=number) for number in range(1, 30)))
    assert len(ledger) == 10
    assert ledger.get(ID, 0) is None
    small = AnswerLedger(ENVIRONMENT, max_bytes=3_000)
    apply(small, *(record(DONE, number=number) for number in range(30)))
    assert len(small) == 4
    for _ in range(3):
        apply(small, record(DONE, number=29))
    assert len(small) == 4


def test_rubbish_on_the_topic_is_passed_over() -> None:
    ledger = AnswerLedger(ENVIRONMENT)
    for key in (None, b"", b"\xff", b"a/b/c", AnswerKey(ENVIRONMENT, ID).encode()):
        ledger.apply(key, b"rubbish", 0)
    ledger.apply(AnswerKey("other", ID).encode(), API_ANSWER.encode(record(DONE)), 1)
    assert len(ledger) == 0
