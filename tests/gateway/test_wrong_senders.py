"""For every scheme: a proof that is right, but not here, not now, or not of these bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from tests.gateway.http_socket import Response, head
from tests.gateway.running import Gateway
from tests.parts.mock_cluster import MockCluster
from tests.providers.subjects import SUBJECTS, Subject

#: How far from now a signed time may be, by every scheme's default.
WINDOW_S = 300
#: When the secret of `ending` ends, in seconds after the gateway's configuration is written.
ENDS_AFTER_S = 8.0

QUARANTINED = "quarantined: authentic, but the provider's rules cannot read it"
#: Whose proof is in the body, so that an empty one proves nothing.
NEED_A_BODY = frozenset({"graph"})
#: Whose event is in the headers, and may have no data.
NEED_NO_BODY = frozenset({"ce-bearer", "ce-hmac"})

SCHEMES = [pytest.param(subject, id=subject.name) for subject in SUBJECTS]
TIMESTAMPED = [
    pytest.param(subject, id=subject.name) for subject in SUBJECTS if subject.timestamped
]


class Fleet:
    """For each scheme: `one` and `two`, each with its own secret, and `rotated`.

    `rotated` had the first's secret until some time ago, and has the second's since then.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.ends_at_s = time.time() + ENDS_AFTER_S
        config: dict[str, Any] = yaml.safe_load(gateway.config_path.read_text())
        connections = [
            self._connection(subject, which)
            for subject in SUBJECTS
            for which in ("one", "two", "rotated")
        ]
        ending = self._connection(SUBJECTS[0], "one") | {"id": "ending"}
        ending["secrets"][0]["not_after"] = _iso(self.ends_at_s)
        config["connections"] = [*connections, ending]
        gateway.config_path.write_text(yaml.safe_dump(config))

    def _connection(self, subject: Subject, which: str) -> dict[str, Any]:
        place = subject.name.upper().replace("-", "_")
        self.gateway.secrets |= {f"ONE_{place}": subject.secret, f"TWO_{place}": subject.other}
        secrets = [{"name": which, "ref": f"env:{'ONE' if which == 'one' else 'TWO'}_{place}"}]
        if which == "rotated":
            until = {"not_after": _iso(time.time() - 1)}
            secrets.insert(0, {"name": "old", "ref": f"env:ONE_{place}", **until})
        return {
            "id": f"{which}-{subject.name}",
            "tenant": "acme",
            "provider": subject.provider,
            "options": dict(subject.options),
            "secrets": secrets,
        }

    def send(self, subject: Subject, connection: str, **how: Any) -> Response:
        """What the system would send, to a connection that need not be its own."""
        return self.gateway.exchange(self.data(subject, connection, **how))

    def data(
        self, subject: Subject, connection: str, *, now_s: float | None = None, **how: Any
    ) -> bytes:
        """The same as bytes."""
        now_s = time.time() if now_s is None else now_s
        request = subject.request(subject.build(), now_s=now_s, **how)
        path = f"/webhooks/{connection}" + (f"?{request.query}" if request.query else "")
        length = ("content-length", str(len(request.body)))
        headers: Any = request.headers
        return head(path, [*headers.pairs(), length]) + request.body


def _iso(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat()


@pytest.fixture(scope="module")
def fleet(cluster: MockCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    gateway = Gateway(cluster.bootstrap_servers, tmp_path_factory.mktemp("fleet"))
    made = Fleet(gateway)
    with gateway:
        yield made
        assert "Traceback" not in gateway.log()
        assert not gateway.lines("a request failed")


def _error(response: Response) -> tuple[int, str]:
    return response.status, response.json()["error"]


@pytest.mark.parametrize("subject", SCHEMES)
def test_what_proves_itself_to_one_connection_proves_nothing_to_another(
    fleet: Fleet, subject: Subject
) -> None:
    ours, theirs = f"one-{subject.name}", f"two-{subject.name}"
    assert fleet.send(subject, ours).status == 200
    assert _error(fleet.send(subject, theirs)) == (401, "signature_refused")
    assert fleet.send(subject, theirs, secret=subject.other).status == 200


@pytest.mark.parametrize("subject", SCHEMES)
def test_a_secret_past_its_end_proves_nothing(fleet: Fleet, subject: Subject) -> None:
    rotated = f"rotated-{subject.name}"
    assert _error(fleet.send(subject, rotated)) == (401, "signature_refused")
    assert fleet.send(subject, rotated, secret=subject.other).status == 200


def test_a_secret_ends_while_the_gateway_runs(fleet: Fleet) -> None:
    answers: list[tuple[float, int]] = []
    while not answers or (answers[-1][1] == 200 and time.time() < fleet.ends_at_s + 10):
        before_s = time.time()
        answers.append((before_s, fleet.send(SUBJECTS[0], "ending").status))
        time.sleep(0.05)
    assert answers[-1][1] == 401
    # Not before its time; and what was sent after its end was refused, all of it.
    assert time.time() >= fleet.ends_at_s
    assert all(at_s < fleet.ends_at_s for at_s, status in answers if status == 200)


@pytest.mark.parametrize("subject", TIMESTAMPED)
def test_a_captured_request_counts_within_its_window_only(fleet: Fleet, subject: Subject) -> None:
    ours = f"one-{subject.name}"
    captured = fleet.data(subject, ours, now_s=time.time() - WINDOW_S + 30)
    # Within the window it counts each time, under one event id, which consumers know again.
    first, second = (fleet.gateway.exchange(captured) for _ in range(2))
    assert (first.status, second.status) == (200, 200)
    ids = [fleet.gateway.line_of(one, "accepted")["event_id"] for one in (first, second)]
    assert ids[0] == ids[1]
    for shift_s in (-WINDOW_S - 2, WINDOW_S + 30, -86_400):
        replayed = fleet.send(subject, ours, now_s=time.time() + shift_s)
        assert _error(replayed) == (401, "timestamp_outside_window")


def _in_digits(at_s: float) -> bytes:
    return str(int(at_s)).encode()


def _in_words(at_s: float) -> bytes:
    return datetime.fromtimestamp(int(at_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()


@pytest.mark.parametrize("subject", TIMESTAMPED)
def test_the_time_of_a_captured_request_cannot_be_made_new(fleet: Fleet, subject: Subject) -> None:
    sent_s = time.time() - 2 * WINDOW_S
    data = fleet.data(subject, f"one-{subject.name}", now_s=sent_s)
    # As Unix seconds or by ISO 8601.
    write = _in_digits if _in_digits(sent_s) in data.partition(b"\r\n\r\n")[0] else _in_words
    written = write(sent_s)
    # Only in the head: some bodies hold the time as well, and are signed.
    at = data.index(written)
    forged = data[:at] + write(time.time()) + data[at + len(written) :]
    assert _error(fleet.gateway.exchange(forged)) == (401, "signature_refused")


#: Where a header may hold several signatures: a wrong one, and what stands between two.
SEVERAL = {
    "standard": ("v1,", "A" * 43 + "=", " "),
    "gitlab-signed": ("v1,", "A" * 43 + "=", " "),
    "stripe": ("v1=", "ab" * 32, ","),
}


@pytest.mark.parametrize("subject", [p for p in SCHEMES if p.id in SEVERAL])
@pytest.mark.parametrize("wrongs", [1, 20])
@pytest.mark.parametrize("right", ["first", "last", "nowhere"])
def test_one_right_signature_among_wrong_ones_is_enough(
    fleet: Fleet, subject: Subject, right: str, wrongs: int
) -> None:
    marker, wrong, between = SEVERAL[subject.name]
    now_s = time.time()
    headers: Any = subject.request(subject.build(), now_s=now_s).headers
    before, _, signature = headers.get(subject.proof).partition(marker)
    signatures = [wrong] * wrongs
    if right != "nowhere":
        signatures.insert(0 if right == "first" else wrongs, signature)
    text = before + between.join(marker + one for one in signatures)
    response = fleet.send(
        subject, f"one-{subject.name}", now_s=now_s, changed={subject.proof: text}
    )
    assert response.status == (401 if right == "nowhere" else 200)


@pytest.mark.parametrize("subject", SCHEMES)
@pytest.mark.parametrize("length", ["content-length: 0", "no length", "no chunk"])
def test_an_empty_body_is_one_that_cannot_be_read(
    fleet: Fleet, subject: Subject, length: str
) -> None:
    """With its proof it is set aside for a person; without one it is refused."""
    data = fleet.data(subject, f"one-{subject.name}", body=b"")
    before, _, _ = data.partition(b"content-length: 0\r\n")
    rest = {
        "content-length: 0": b"content-length: 0\r\n\r\n",
        "no length": b"\r\n",
        "no chunk": b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    }[length]
    response = fleet.gateway.exchange(before + rest)
    if subject.name in NEED_A_BODY:
        assert response.status == 401
    else:
        assert response.status == 200
        fleet.gateway.line_of(response, "accepted" if subject.name in NEED_NO_BODY else QUARANTINED)
    unproven = fleet.data(subject, f"two-{subject.name}", body=b"")
    assert fleet.gateway.exchange(unproven).status == 401
