"""Where `hookline trace` finds a request: the monitor's store, else the execution log; and the
consumer's store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from consumer.monitor.contract import RequestStory
from consumer.monitor.log_search import search
from consumer.stores.contract import ParkedKey, Partition
from consumer.stores.operations import Filter, Operations, StoredLetter
from credentials.resolver import Resolver
from hookline.commands.trace_story import ParkedNow, Told, key_of
from hookline.processes.monitor_stores import open_questions
from hookline.processes.stores import open_operations
from hookline.settings.loading import Settings
from schemas.errors import ConfigurationError, SecretError, StoreError

_PAGE: Final = 200
#: Of a connection with more, the rest is not looked at.
_MAX_LETTERS: Final = 5_000
_MAX_KEYS: Final = 10_000
_MAX_EVENTS_OF_KEY: Final = 1_000


def story_of(
    settings: Settings, resolver: Resolver, request_id: bytes, within_s: float
) -> tuple[RequestStory, str]:
    """What the monitor's store has of a request, else the log, and what is to be said of that."""
    remark = ""
    try:
        store = open_questions(settings.monitor, resolver)
        try:
            story = store.request(settings.environment, request_id)
        finally:
            store.close()
        if story.receptions or story.executions:
            return story, ""
    except (StoreError, SecretError, ConfigurationError) as error:
        # A file that was never made is no trouble: nobody has to run a monitor.
        if not settings.monitor.store.startswith("sqlite"):
            remark = f"the monitor's store was not asked: {error}"
    story, more = _from_log(settings, resolver, request_id, within_s)
    return story, "\n".join(filter(None, (remark, more)))


def _from_log(
    settings: Settings, resolver: Resolver, request_id: bytes, within_s: float
) -> tuple[RequestStory, str]:
    found = search(
        settings.kafka.bootstrap_servers,
        settings.topics.executions,
        request_id,
        within_s=within_s,
        properties=settings.kafka.resolved_properties(resolver),
    )
    if found.whole:
        return found.story, ""
    return found.story, (
        f"the search ended after {within_s:g} s, before the log's end: what came later is not "
        f"shown (--within {within_s * 4:g} looks further)"
    )


def with_store(
    settings: Settings, resolver: Resolver, request_id: bytes, story: RequestStory
) -> Told:
    """The story with the request's dead letters and parked events as the store has them now."""
    text_id = request_id.hex()
    try:
        store = open_operations(settings.consumer, resolver)
    except (StoreError, SecretError, ConfigurationError) as error:
        return Told(request_id=text_id, story=story, store_problem=str(error))
    try:
        return Told(
            request_id=text_id,
            story=story,
            letters=tuple(_letters(store, request_id, story)),
            parked=tuple(_parked(store, request_id, story)),
        )
    except StoreError as error:
        return Told(request_id=text_id, story=story, store_problem=str(error))
    finally:
        store.close()


def _letters(store: Operations, request_id: bytes, story: RequestStory) -> Iterator[StoredLetter]:
    after = looked_at = 0
    connections = {row.connection for row in story.executions}
    connections |= {row.connection for row in story.receptions}
    wanted = Filter(connection=connections.pop() if len(connections) == 1 else "")
    while looked_at < _MAX_LETTERS and (page := store.letters(wanted, after, _PAGE)):
        yield from (item for item in page if item.letter.request_id == request_id)
        after = page[-1].number
        looked_at += len(page)


def _parked(store: Operations, request_id: bytes, story: RequestStory) -> Iterator[ParkedNow]:
    # Without a row that says which keys, each would have to be read.
    wanted = {key_of(row).encode() for row in story.executions}
    connections = {row.connection for row in story.executions}
    if len(connections) != 1:
        return
    for key in _keys(store, connections.pop()):
        if key.key not in wanted:
            continue
        for event in store.parked_events(key.partition, key.key, _MAX_EVENTS_OF_KEY):
            if event.request_id == request_id:
                yield ParkedNow(
                    key=key.key.decode("utf-8", "backslashreplace"),
                    offset=event.offset,
                    reason=event.reason,
                    attempts=key.attempts,
                    retry_at_ms=key.retry_at_ms,
                )


def _keys(store: Operations, connection: str) -> Iterator[ParkedKey]:
    after: tuple[Partition, bytes] | None = None
    looked_at = 0
    while looked_at < _MAX_KEYS and (page := store.parked_keys(connection, after, _PAGE)):
        yield from page
        after = page[-1].partition, page[-1].key
        looked_at += len(page)
