"""What operators see of events: text from outside, and very many dead letters."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from consumer.stores.contract import Letter, ParkedEvent, Partition
from consumer.stores.operations import Filter, Operations, StoredLetter
from consumer.stores.sqlite import SqliteStore
from hookline.commands import dead_letters as dead_letters_command
from hookline.commands import parked as parked_command
from schemas.dead_letter import DeadLetter

P0 = Partition("events", 0)
EVIL = "i/[/x]\x1b[2J\x07\u202e\r\n9"
SHOWN = "i/[/x]\\x1b[2J\\x07\\u202e\\r\\n9"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    store = SqliteStore(tmp_path / "store.db", "g")
    letter = DeadLetter(reason="permanent", detail="[/]", died_at_us=1, value=EVIL.encode())
    claim = store.claim([P0])[0]
    with store.commit() as commit:
        commit.bury(
            [Letter(dedupe_id=b"i" * 16, letter=letter, event_type="[red]", resource_key=EVIL)]
        )
        event = ParkedEvent(partition=P0, key=EVIL.encode(), offset=1, value=b"v", event_type=EVIL)
        commit.park([event], 10**15)
        commit.advance([claim], {P0: 2}, {}, 1)
    store.close()
    path = tmp_path / "hookline.yaml"
    store_url = f"sqlite:///{tmp_path}/store.db"
    path.write_text(f"consumer: {{group: g, store: '{store_url}'}}\naudit: {{required: false}}")
    return path


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (dead_letters_command.command, ["list"]),
        (dead_letters_command.command, ["show", "1"]),
        (dead_letters_command.command, ["redrive", "--all", "--dry-run"]),
        (dead_letters_command.command, ["discard", "1", "--dry-run"]),
        (parked_command.command, ["list"]),
    ],
)
def test_what_comes_from_outside_is_shown_and_does_nothing(
    config: Path, command: Any, arguments: list[str]
) -> None:
    result = CliRunner().invoke(command, [*arguments, "--config", str(config)])
    assert result.exception is None
    assert SHOWN in result.output
    assert not any(c in result.output for c in "\x1b\x07\r\u202e")
    if "show" in arguments:
        assert "[red]" in result.output


def test_a_parked_key_is_retried_by_the_name_that_the_list_shows(config: Path) -> None:
    for name in (SHOWN, EVIL):
        result = CliRunner().invoke(
            parked_command.command, ["retry", name, "--config", str(config)]
        )
        assert "1 keys with 1 events are due now" in result.output


def test_a_payload_is_whole_in_a_file_and_harmless_on_a_terminal() -> None:
    payload = b"a\tb\n\x1b[2J"
    assert dead_letters_command._as_text(payload, terminal=True) == "a\tb\n\\x1b[2J"
    assert dead_letters_command._as_text(payload, terminal=False) == payload.decode()


class _VeryMany:
    """200 letters of a megabyte each, made as they are asked for."""

    def letters(self, wanted: Filter, after: int, limit: int) -> list[StoredLetter]:
        numbers = range(after + 1, min(after + limit, 200) + 1)
        return [self.letter(number) for number in numbers]

    def letter(self, number: int) -> StoredLetter:
        dead = DeadLetter(reason="permanent", died_at_us=1, value=bytes(1_000_000))
        return StoredLetter(
            number=number, dedupe_id=b"", event_type="", resource_key="", letter=dead
        )


@pytest.mark.parametrize("numbers", [(), tuple(range(1, 201))])
def test_very_many_letters_are_chosen_without_their_values(numbers: tuple[int, ...]) -> None:
    tracemalloc.start()
    store = cast(Operations, _VeryMany())
    chosen = dead_letters_command._choose(store, Filter(), numbers, True, "redrive")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert chosen.numbers == list(range(1, 201))
    assert peak < 60_000_000
