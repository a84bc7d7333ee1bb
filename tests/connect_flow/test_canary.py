"""P6 over the whole flow: what a customer enters, and what systems give for it, is in the secret
backend, and nowhere else in any form: no log, topic, page, answer, address, trace or file."""

from __future__ import annotations

from typing import Any

import pytest

from tests.connect_flow.canary import CanaryRun
from tests.end_to_end.canaries import search
from tests.parts.kafka import KafkaBroker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]
KINDS = ["logs", "topics", "browser", "answers", "metrics", "traces, metrics and logs", "files",
         "process list"]  # fmt: skip


@pytest.fixture(scope="module")
def run(kafka: KafkaBroker, chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> CanaryRun:
    return CanaryRun(kafka, tmp_path_factory.mktemp("connect-canary"), chromium)


def of_kind(run: CanaryRun, kind: str) -> dict[str, bytes]:
    return {name: data for name, data in run.places.items() if name.partition("/")[0] == kind}


@pytest.mark.parametrize("kind", KINDS)
def test_no_credential_is_in(run: CanaryRun, kind: str) -> None:
    places = of_kind(run, kind)
    for name, data in sorted(places.items()):
        print(f"{len(data):>10,} bytes  {name}")
    assert any(len(data) > 20 for data in places.values())
    found = [f"{f.place}: {f.canary}: {f.around!r}" for f in search(places, run.canaries)]
    assert not found, "\n".join(found)


def test_they_are_in_the_backend_encrypted(run: CanaryRun) -> None:
    values = set(run.sealed.values())
    marked = {canary.name: canary.value for canary in run.canaries}
    for name in ("github, entered", "zendesk, entered", "GitHub's signing secret",
                 "Zendesk's signing secret"):  # fmt: skip
        assert marked[name] in values, name
    assert any(value.startswith("shpat_") for value in values)
    assert "files/hookline.sealed" in run.places
    # Of flows that were stopped nothing is kept.
    assert {name.split("/")[1] for name in run.sealed} == {
        "acme-github", "acme-shopify", "acme-zendesk",
    }  # fmt: skip


def test_the_search_would_have_seen_it(run: CanaryRun) -> None:
    planted: dict[str, Any] = {}
    for canary in run.canaries:
        planted[canary.name] = b"x" * 100 + canary.core.encode() + b"y"
    found = search(planted, run.canaries)
    assert {one.place for one in found} == set(planted)
    assert len(run.canaries) > 15
    assert any(b"acme-github" in data for data in of_kind(run, "logs").values())
    assert any(b"northwind" in data for data in of_kind(run, "browser").values())
