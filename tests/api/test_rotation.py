"""A signing secret is rotated: here, at the gateway and at its system, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from credentials.secret import Secret
from producer.connect.flow.state import Explanation
from producer.connect.rotation import NEXT, SIGNING
from producer.connect.system_secrets import Told, Verdict
from schemas.connection import Connection
from schemas.connection_access import ConnectionAccess
from tests.api.stage import ApiStage

URL = "/api/v1/connections"
ONE = f"{URL}/acme-github"
OLD = "sealed:acme/x/first"
WHY = Explanation(code="gone", what="It is not there.", why="Deleted.", next="Connect again.")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiStage]:
    stage = ApiStage(tmp_path)
    yield stage
    stage.close()


def now(api: ApiStage, name: str = "acme-github") -> tuple[Connection, ConnectionAccess]:
    record = api.book.look(lambda ledger: ledger.record(name))
    access = api.book.look(lambda ledger: ledger.access(name))
    assert record is not None
    assert access is not None
    return record.connection, access


def rotate(api: ApiStage, name: str = "acme-github", **body: Any) -> Any:
    return api.client().post(f"{URL}/{name}/rotate-secret", json=body)


def untouched(api: ApiStage) -> None:
    """As it was before, with nothing left anywhere."""
    connection, access = now(api)
    assert [(one.name, one.not_after_s) for one in connection.secrets] == [("first", None)]
    assert access.credentials == {"token": "sealed:acme/x/token", SIGNING: OLD}
    assert api.writer.kept == {}
    assert api.book.look(lambda ledger: ledger.ids()) == ["acme-github"]


def test_a_rotation_adds_a_secret_and_ends_the_old_one_later(api: ApiStage) -> None:
    api.have(system="github")
    seen: list[list[tuple[str, float | None]]] = []

    def meanwhile() -> None:
        # When the system is told, both count, and the old one has no end yet.
        connection, access = now(api)
        seen.append([(one.name, one.not_after_s) for one in connection.secrets])
        assert access.credentials[NEXT] == connection.secrets[1].ref
        assert len(api.service.secrets.signs) == 1

    api.service.secrets.meanwhile = meanwhile
    answer = rotate(api, overlap_s=3600)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert seen == [[("first", None), (made["added"], None)]]
    ((ref, value),) = api.writer.kept.items()
    ((asked, secret),) = api.service.secrets.given
    assert (asked, secret and secret.reveal()) == ("acme-github", value)
    assert ref == f"sealed:acme/acme-github/{made['added']}"
    assert len(value) >= 32
    assert value not in answer.text
    assert "sealed" not in answer.text
    assert not any(value in str(one) for one in api.audit.records)
    assert not any(value.encode() in (v or b"") for _, v in api.connections.records)
    assert made["retired"] == ["first"]
    states = {one["name"]: one for one in made["connection"]["secrets"]}
    assert states["first"]["not_after"] == made["not_after"]
    assert states["first"]["state"] == "active"
    assert states[made["added"]]["not_after"] is None
    _, access = now(api)
    # The newest under its name, and the old one is not forgotten.
    assert access.credentials[SIGNING] == ref
    assert OLD in access.credentials.values()
    assert NEXT not in access.credentials
    assert access.credentials["token"] == "sealed:acme/x/token"
    assert api.book.look(lambda ledger: ledger.ids()) == ["acme-github"]
    # Again, when the first one's time is over: it is no longer listed, and still known.
    api.service.secrets.meanwhile = lambda: None
    api.stage.now_us += 7200 * 1_000_000
    again = rotate(api).json()
    assert [one["name"] for one in again["connection"]["secrets"]] == [
        made["added"],
        again["added"],
    ]
    _, access = now(api)
    assert {ref, OLD} <= set(access.credentials.values())


def test_what_cannot_be_rotated_says_what_to_do_instead(api: ApiStage) -> None:
    api.have("by-command")
    for name, system in (("app", "shopify"), ("hand", "slack"), ("no-way", "stripe"),
                         ("gone", "no-such-system")):  # fmt: skip
        api.have(name, system=system)
    api.have("full", system="github", refs={f"s{n}": f"sealed:acme/x/{n}" for n in range(10)})
    expected = {
        "by-command": "hookline secrets rotate",
        "app": "your own app at Shopify",
        "hand": "connect again",
        "no-way": "Stripe cannot be given a new secret by a request",
        "gone": "no longer in the catalogue",
        "full": "10 secrets already",
    }
    for name, text in expected.items():
        answer = rotate(api, name)
        assert answer.status_code == 409, name
        assert answer.json()["type"] == "urn:hookline:api:not_rotatable"
        assert text in answer.json()["detail"]
    assert api.writer.kept == {}
    assert api.service.secrets.given == []
    assert rotate(api, "full", overlap_s=-1).status_code == 422
    api.have("nine", system="github", refs={f"s{n}": f"sealed:acme/x/{n}" for n in range(9)})
    assert rotate(api, "nine", overlap_s=60).status_code == 200
    assert rotate(api, "nine").status_code == 409
    # Those whose time is over are no longer in its way.
    api.stage.now_us += 61 * 1_000_000
    assert rotate(api, "nine").status_code == 200


def test_what_the_system_refuses_leaves_nothing(api: ApiStage) -> None:
    api.have(system="github")
    api.service.secrets.told = Told(verdict=Verdict.REFUSED, explanation=WHY)
    answer = rotate(api)
    assert answer.json()["type"] == "urn:hookline:api:system_refused"
    assert "It is not there. Deleted. Connect again." in answer.json()["detail"]
    untouched(api)
    api.service.secrets.told = Told(verdict=Verdict.TAKEN)
    assert rotate(api).status_code == 200


def test_a_gateway_that_does_not_know_in_time_leaves_nothing_and_tells_no_system(
    api: ApiStage,
) -> None:
    api.have(system="github")
    api.service.secrets.knows = False
    answer = rotate(api)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert api.service.secrets.given == []
    untouched(api)


def test_where_the_system_may_have_taken_it_both_count(api: ApiStage) -> None:
    api.have(system="github")
    api.service.secrets.told = Told(verdict=Verdict.UNKNOWN, explanation=WHY)
    answer = rotate(api)
    assert answer.json()["type"] == "urn:hookline:api:system_unclear"
    connection, access = now(api)
    assert [one.not_after_s for one in connection.secrets] == [None, None]
    assert {one.ref for one in connection.secrets} <= set(access.credentials.values())
    assert len(api.writer.kept) == 1
    # It is not in the way of another try, which ends both.
    api.service.secrets.told = Told(verdict=Verdict.TAKEN)
    again = rotate(api).json()
    assert again["retired"] == sorted(one.name for one in connection.secrets)


def test_a_secret_of_the_systems_own_making_counts_at_once(api: ApiStage) -> None:
    api.have(system="zendesk")
    api.service.secrets.told = Told(verdict=Verdict.TAKEN, secret=Secret("made-by-them"))
    made = rotate(api, overlap_s=60).json()
    ((_, secret),) = api.service.secrets.given
    assert secret is None
    assert api.writer.kept == {f"sealed:acme/acme-github/{made['added']}": "made-by-them"}
    connection, _ = now(api)
    assert [one.not_after_s is None for one in connection.secrets] == [False, True]


@pytest.mark.parametrize("verdict", [Verdict.REFUSED, Verdict.UNKNOWN])
def test_a_system_that_made_no_secret_leaves_nothing(api: ApiStage, verdict: Verdict) -> None:
    api.have(system="zendesk")
    api.service.secrets.told = Told(verdict=verdict, explanation=WHY)
    assert rotate(api).status_code == 409
    untouched(api)


def test_two_rotations_at_once_are_one(api: ApiStage) -> None:
    api.have(system="github")
    second: list[Any] = []
    api.service.secrets.meanwhile = lambda: second.append(rotate(api))
    assert rotate(api).status_code == 200
    assert second[0].json()["type"] == "urn:hookline:api:not_now"
    assert len(api.service.secrets.given) == 1
    assert len(api.writer.kept) == 1


def test_a_rotation_whose_process_died_is_taken_over(api: ApiStage) -> None:
    api.have(system="github")
    died: list[str] = []

    def die() -> None:
        died.append(now(api)[1].credentials[NEXT])
        raise KeyboardInterrupt

    api.service.secrets.meanwhile = die
    with pytest.raises(BaseException):  # noqa: B017, PT011
        rotate(api)
    api.service.secrets.meanwhile = lambda: None
    assert rotate(api).json()["type"] == "urn:hookline:api:not_now"
    api.stage.now_us += 121 * 1_000_000
    made = rotate(api)
    assert made.status_code == 200
    assert len(made.json()["retired"]) == 2
    # What it had written is found when the connection goes.
    assert died[0] in now(api)[1].credentials.values()


def test_a_rotation_of_what_is_revoked_meanwhile_leaves_no_secret_behind(api: ApiStage) -> None:
    api.have(system="github")
    write = api.writer.write

    def slow(name: str, secret: object) -> str:
        api.book.revoke("acme-github", "another")
        return write(name, secret)  # type: ignore[arg-type]

    api.writer.write = slow  # type: ignore[method-assign,assignment]
    answer = rotate(api)
    assert answer.json()["type"] == "urn:hookline:api:revoked"
    assert api.writer.kept == {}
    assert api.service.secrets.given == []
