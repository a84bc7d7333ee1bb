"""Settings of the console's access, and patterns that could make matching slow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from hookline.settings.loading import load
from hookline.settings.patterns import unsafe
from schemas.errors import ConfigurationError


def settings(folder: Path, **console: object) -> object:
    path = folder / "hookline.yaml"
    path.write_text(yaml.safe_dump({"console": console}))
    return load(path, {}).console


@pytest.mark.parametrize(
    "pattern", [r"\bACME-\d{8}\b", r"[a-z]+@[a-z.]+", r"(?:a{1,40})+", r"(?i)x|y", r"(a|b)*c"]
)
def test_a_pattern_without_a_repeat_inside_of_a_repeat_may_be_used(pattern: str) -> None:
    assert unsafe(pattern) == ""


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"((?:x*)y?)*", r"(?:(?=a+)b)+", r"(a|b+)*c"])
def test_one_that_can_take_for_ever_is_refused(pattern: str) -> None:
    assert "{1,40}" in unsafe(pattern)


def test_a_mistake_names_its_line_and_the_next_step(tmp_path: Path) -> None:
    for console, words in (
        ({"redact": {"patterns": ["(a+)+"]}}, "{1,40}"),
        ({"redact": {"patterns": ["("]}}, "no regular expression"),
        ({"redact": {"pointers": ["customer"]}}, "console.redact.pointers"),
        ({"proxies": ["10.0.0.1/8"]}, "10.0.0.0/8"),
        ({"public_url": "https://host/path"}, "console.public_url"),
    ):
        with pytest.raises(ConfigurationError, match=re.escape(words)):
            settings(tmp_path, **console)


def test_what_is_written_gets_to_the_rules(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        public_url="https://console.example.com",
        proxies=["10.0.0.0/8"],
        redact={"fields": ["email"], "pointers": ["/a/*"], "patterns": ["x"], "defaults": False},
    )
    rules = found.redact.rules()  # type: ignore[attr-defined]
    assert (rules.fields, rules.pointers, rules.patterns) == (("email",), ("/a/*",), ("x",))
    assert rules.defaults is False
