"""The follower's thread where Kafka does not do as it should."""

from __future__ import annotations

import logging
import time

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from producer.connections import follower as follower_module
from producer.connections.clients import TopicAccess
from producer.connections.follower import Follower
from tests.connections.fleet import until
from tests.parts.kafka import KafkaBroker
from tests.parts.process import free_port


class Heard:
    """A listener."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def began(self, anew: bool) -> None:
        self.told.append("began anew" if anew else "began")

    def came(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        self.told.append(f"{(key or b'').decode()} at {offset}")

    def ended(self, offset: int) -> None:
        self.told.append(f"ended at {offset}")


def test_what_the_client_says_while_kafka_is_away_does_not_wait_for_kafka(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another test may have left the one of a process there, which says it once.
    monkeypatch.setattr(logging.getLogger("hookline.kafka"), "filters", [])
    caplog.set_level(logging.ERROR, "hookline.kafka")
    follower = Follower(TopicAccess(f"127.0.0.1:{free_port()}", "connections"), Heard())
    follower.start()
    try:
        # It would fill memory for as long as Kafka is away, and then hold up the reading.
        until(lambda: sum("refused" in one.message for one in caplog.records) > 20)
    finally:
        follower.stop(5)
    assert "no answer from Kafka" in follower.problem


class Patient(TopicAccess):
    """Its broker waits for half a minute before it says that there is no more."""

    def reader(self, wait_ms: int = 30_000) -> Consumer:
        return super().reader(30_000)


@pytest.mark.kafka
@pytest.mark.parametrize("records", [0, 1, 250])
def test_the_end_is_known_from_the_leader_and_not_from_silence(
    kafka: KafkaBroker, records: int
) -> None:
    name = f"connections-end-{records}"
    access = Patient(kafka.bootstrap_servers, kafka.create_topic(name, 1, cleanup_policy="compact"))
    if records:
        access.writer().write_all([(b"%d" % n, b"x") for n in range(records)])
    heard = Heard()
    follower = Follower(access, heard)
    follower.start()
    try:
        until(lambda: f"ended at {records}" in heard.told)
        assert len(heard.told) == records + 2, "all came before the end"
        access.writer().write(b"later", b"x")
        until(lambda: heard.told[-1] == f"later at {records}")
    finally:
        follower.stop(5)


@pytest.mark.kafka
def test_while_nothing_happens_the_leader_is_asked_whether_that_is_so(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "_CONFIRM_EVERY_S", 0.2)
    access = TopicAccess(
        kafka.bootstrap_servers,
        kafka.create_topic("connections-quiet", 1, cleanup_policy="compact"),
    )
    follower = Follower(access, Heard())
    follower.start()
    try:
        until(lambda: follower.newest is not None)
        first = follower.newest
        until(lambda: follower.newest != first)
        access.writer().write(b"one", b"x")
        until(lambda: follower.newest is not None and follower.newest.offset == 1)
    finally:
        follower.stop(5)


@pytest.mark.kafka
def test_a_topic_that_has_become_shorter_was_made_anew(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "_CONFIRM_EVERY_S", 0.2)
    heard = Heard()
    name = kafka.create_topic("connections-shorter", 1, cleanup_policy="compact")
    access = TopicAccess(kafka.bootstrap_servers, name)
    access.writer().write_all([(b"%d" % n, b"x") for n in range(5)])
    follower = Follower(access, heard)
    follower.start()
    try:
        until(lambda: "ended at 5" in heard.told)
        # As if it had read as many of a topic that is gone.
        monkeypatch.setattr(follower, "_read_to", 7)
        until(lambda: heard.told[-1] == "ended at 5" and "began anew" in heard.told)
    finally:
        follower.stop(5)


@pytest.mark.kafka
def test_after_hours_without_kafka_it_reads_again_since_removals_leave_no_trace(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "_CONFIRM_EVERY_S", 0.2)
    heard = Heard()
    name = kafka.create_topic("connections-stale", 1, cleanup_policy="compact")
    access = TopicAccess(kafka.bootstrap_servers, name)
    access.writer().write(b"one", b"x")
    follower = Follower(access, heard)
    follower.start()
    try:
        until(lambda: "ended at 1" in heard.told)
        del heard.told[:]
        monkeypatch.setattr(follower, "_proven_s", time.monotonic() - 7_200)
        until(lambda: heard.told[:3] == ["began", "one at 0", "ended at 1"])
    finally:
        follower.stop(5)


def test_a_thread_that_stands_still_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Follower(TopicAccess("127.0.0.1:1", "connections"), Heard())
    follower.start()
    try:
        assert follower.alive
        monkeypatch.setattr(follower_module, "_STUCK_S", -1.0)
        assert not follower.alive
    finally:
        follower.stop(5)
    assert follower.alive, "it was told to end"


@pytest.mark.kafka
def test_a_topic_whose_first_records_were_deleted_is_told_since_it_may_have_said_more(
    kafka: KafkaBroker, caplog: pytest.LogCaptureFixture
) -> None:
    name = kafka.create_topic("connections-deleted", 1, cleanup_policy="delete")
    access = TopicAccess(kafka.bootstrap_servers, name)
    access.writer().write_all([(b"%d" % n, b"x") for n in range(5)])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    # As its retention does.
    (deleted,) = admin.delete_records([TopicPartition(name, 0, 3)]).values()
    deleted.result(30)
    heard = Heard()
    follower = Follower(access, heard)
    follower.start()
    try:
        until(lambda: "ended at 5" in heard.told)
        assert heard.told == ["began anew", "3 at 3", "4 at 4", "ended at 5"]
    finally:
        follower.stop(5)
    (told,) = [one for one in caplog.records if "topics check" in one.message]
    assert name in str(vars(told)["data"])


@pytest.mark.kafka
@pytest.mark.parametrize("expires", [False, True])
def test_first_records_that_are_gone_are_an_error_but_where_they_expire(
    kafka: KafkaBroker, caplog: pytest.LogCaptureFixture, expires: bool
) -> None:
    caplog.set_level(logging.ERROR, "hookline.connections")
    name = kafka.create_topic(f"connections-expire-{expires}", 1, cleanup_policy="delete")
    access = TopicAccess(kafka.bootstrap_servers, name)
    access.writer().write_all([(b"%d" % n, b"x") for n in range(5)])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for done in admin.delete_records([TopicPartition(name, 0, 3)]).values():
        done.result(20)
    heard = Heard()
    follower = Follower(access, heard, expires=expires)
    follower.start()
    try:
        until(lambda: "ended at 5" in heard.told)
    finally:
        follower.stop(5)
    assert heard.told[0] == ("began" if expires else "began anew")
    assert any("lacks its first records" in one.message for one in caplog.records) is not expires
