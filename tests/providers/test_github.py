"""GitHub: what is believed, what is refused, and which resource an event is about."""

import hashlib
import hmac
import json
from urllib.parse import quote_plus

import pytest

from producer.providers.github_payloads import DECODERS
from producer.providers.provider import Identity, Refusal, Refused, Unreadable, Verified
from producer.providers.registry import build
from schemas.errors import SecretFormatError
from tests.providers.http_request import PAYLOADS, body, key, payload, request

PROVIDER = build("github", {})
SECRET = "kvarnholm-7 å"
BODY = payload("github", "issues.opened")
REPOSITORY = 418820417


def signed(content=BODY, secret=SECRET, event="issues"):
    return dict(
        PROVIDER.sign(
            content,
            PROVIDER.load_key(secret),
            event_id="72d3162e-cc78-11e3-81ab-4c9367dc0958",
            event_type=f"github.{event}",
            now_s=0,
        )
    )


def verify(headers, content=BODY, secrets=(SECRET,)):
    keys = [key(PROVIDER, secret, f"key-{n}") for n, secret in enumerate(secrets)]
    return PROVIDER.verify(request(headers, content), keys, 0)


def identify(event, content, delivery="d-1"):
    return PROVIDER.identify(
        request({"X-GitHub-Event": event, "X-GitHub-Delivery": delivery}, content)
    )


def test_what_is_signed_is_verified_and_a_changed_body_is_not():
    assert verify(signed()) == Verified("key-0")
    assert verify(signed(), BODY + b" ") == Refused(Refusal.SIGNATURE_WRONG)
    assert verify(signed(), b"") == Refused(Refusal.SIGNATURE_WRONG)


def test_the_signature_is_what_githubs_documentation_computes():
    expected = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
    assert signed()["x-hub-signature-256"] == f"sha256={expected}"
    assert verify(signed() | {"x-hub-signature-256": f"sha256={expected.upper()}"})


def test_each_of_several_active_secrets_verifies_under_its_own_name():
    assert verify(signed(), secrets=["new", SECRET]) == Verified("key-1")
    assert verify(signed(), secrets=[SECRET, "new"]) == Verified("key-0")
    assert verify(signed(), secrets=[SECRET, SECRET]) == Verified("key-0")
    assert verify(signed(), secrets=["new", "newer"]) == Refused(Refusal.SIGNATURE_WRONG)
    assert verify(signed(), secrets=[]) == Refused(Refusal.NO_ACTIVE_SECRET)


def test_no_key_is_left_out_after_one_has_matched(monkeypatch):
    compared = []
    real = hmac.compare_digest

    def counting(left, right):
        compared.append(left)
        return real(left, right)

    monkeypatch.setattr("producer.providers.github.hmac.compare_digest", counting)
    verify(signed(), secrets=[SECRET, "new", "newer"])
    assert len(compared) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256=",
        "sha256",
        "a" * 64,
        "sha1=" + "a" * 40,
        "sha256=" + "a" * 63,
        "sha256=" + "a" * 65,
        "sha256=" + "g" * 64,
        "sha256=" + "a" * 62 + " a",
        "sha256=" + "é" * 64,
        "sha256=" + "٣" * 64,
        "sha256=" + "\ud800" * 64,
        "SHA256=" + "a" * 64,
        " sha256=" + "a" * 63,
        "sha256=" + "a" * 100_000,
        "\x00" * 71,
    ],
)
def test_a_malformed_signature_is_refused_as_such(text):
    given = verify(signed() | {"x-hub-signature-256": text})
    assert given == Refused(Refusal.SIGNATURE_MALFORMED)


def test_the_old_sha1_signature_alone_is_no_signature():
    headers = signed()
    del headers["x-hub-signature-256"]
    old = hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest()
    headers["x-hub-signature"] = f"sha1={old}"
    assert verify(headers) == Refused(Refusal.SIGNATURE_MISSING)


@pytest.mark.parametrize("name", ["x-hub-signature-256", "x-github-delivery", "x-github-event"])
def test_a_repeated_header_is_refused(name):
    headers = signed()
    given = verify(headers | {name: [headers[name], headers[name]]})
    assert given == Refused(Refusal.SIGNATURE_MALFORMED)


@pytest.mark.parametrize("secret", ["", "\ud800"])
def test_a_secret_that_is_no_text_is_refused(secret):
    with pytest.raises(SecretFormatError):
        PROVIDER.load_key(secret)


SAMPLES = {
    "issues.opened": ("issue", f"{REPOSITORY}#218", 1_795_428_331_000_000),
    "issue_comment.created": ("issue", f"{REPOSITORY}#218", None),
    "pull_request.synchronize": ("pull_request", f"{REPOSITORY}#219", 1_795_435_100_000_000),
    "pull_request_review.submitted": ("pull_request", f"{REPOSITORY}#219", None),
    "push": ("ref", f"{REPOSITORY}@refs/heads/main", None),
    "release.published": ("release", "190442718", 1_795_444_277_000_000),
    "workflow_run.completed": ("workflow_run", "12088430915", 1_795_435_608_000_000),
    "star.created": ("repository", str(REPOSITORY), None),
    "ping": ("hook", "512208841", None),
}


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_each_sample_is_keyed_by_its_resource(name):
    given = identify(name.partition(".")[0], payload("github", name))
    assert isinstance(given, Identity)
    assert given.event_id == "d-1"
    assert given.event_type == f"github.{name}"
    assert (given.resource_type, given.resource_id, given.resource_version) == SAMPLES[name]


def test_every_sample_in_the_folder_is_checked():
    assert {path.stem for path in (PAYLOADS / "github").glob("*.json")} == set(SAMPLES)


@pytest.mark.parametrize(
    ("name", "occurred_at_us"),
    [
        ("issues.opened", 1_795_428_331_000_000),
        ("issue_comment.created", 1_795_429_329_000_000),
        ("pull_request_review.submitted", 1_795_437_004_000_000),
        ("push", 1_795_434_070_000_000),
        ("ping", None),
    ],
)
def test_when_it_occurred_is_the_nearest_time_that_the_payload_has(name, occurred_at_us):
    given = identify(name.partition(".")[0], payload("github", name))
    assert given.occurred_at_us == occurred_at_us


def test_a_comment_on_a_pull_request_shares_the_pull_requests_order():
    sample = json.loads(payload("github", "issue_comment.created"))
    sample["issue"]["pull_request"] = {"url": "https://api.github.example.test/pulls/218"}
    given = identify("issue_comment", body(sample))
    assert (given.resource_type, given.resource_id) == ("pull_request", f"{REPOSITORY}#218")


def test_a_renamed_repository_keeps_its_resources():
    sample = json.loads(BODY)
    before = identify("issues", BODY)
    sample["repository"] |= {"name": "desk", "full_name": "other/desk"}
    after = identify("issues", body(sample))
    assert (after.resource_type, after.resource_id) == (before.resource_type, before.resource_id)


REPO = {"repository": {"id": 5, "updated_at": "1970-01-01T00:00:02Z"}}


@pytest.mark.parametrize(
    ("event", "content", "resource"),
    [
        ("create", {"ref": "v1", "ref_type": "tag", **REPO}, ("ref", "5@refs/tags/v1")),
        ("delete", {"ref": "a/b", "ref_type": "branch", **REPO}, ("ref", "5@refs/heads/a/b")),
        ("check_run", {"check_run": {"id": 8}, **REPO}, ("check_run", "8")),
        ("check_suite", {"check_suite": {"id": 8}, **REPO}, ("check_suite", "8")),
        ("workflow_job", {"workflow_job": {"id": 8}, **REPO}, ("workflow_job", "8")),
        ("deployment", {"deployment": {"id": 8}, **REPO}, ("deployment", "8")),
        ("deployment_status", {"deployment": {"id": 8}, **REPO}, ("deployment", "8")),
        ("fork", REPO, ("repository", "5")),
        ("member", REPO, ("repository", "5")),
        ("repository", REPO, ("repository", "5")),
        ("organization", {"organization": {"id": 9}}, ("organization", "9")),
        ("team", {"organization": {"id": 9}, **REPO}, ("organization", "9")),
        ("installation", {"installation": {"id": 3, "updated_at": 2}}, ("installation", "3")),
        ("installation_repositories", {"installation": {"id": 3}}, ("installation", "3")),
        ("ping", {"hook_id": 4}, ("hook", "4")),
        ("something_new", {"organization": {"id": 9}, **REPO}, ("repository", "5")),
        ("something_new", {"organization": {"id": 9}}, ("organization", "9")),
        ("something_new", {}, ("delivery", "d-1")),
    ],
)
def test_each_family_has_its_resource(event, content, resource):
    given = identify(event, body(content))
    assert (given.resource_type, given.resource_id) == resource
    assert given.event_type == f"github.{event}"


def test_times_in_unix_seconds_are_versions_too():
    content = {"action": "suspend", "installation": {"id": 3, "updated_at": 2}}
    assert identify("installation", body(content)).resource_version == 2_000_000


def test_a_form_is_read_as_github_sends_it():
    form = b"payload=" + quote_plus(BODY).encode()
    headers = signed(form)
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert verify(headers, form) == Verified("key-0")
    assert identify("issues", form) == identify("issues", BODY)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (b"payload=", "body_not_json"),
        (b"payload=%7B%7D&payload=%7B%7D", "form_malformed"),
        (b"payload=%FF", "body_not_utf8"),
        (b"payload=%zz", "body_not_json"),
        (b"payload=%5B", "body_unexpected"),
        (b"other=%7B%7D", "body_not_json"),
    ],
)
def test_a_form_that_is_not_as_github_sends_it_is_unreadable(form, reason):
    given = identify("issues", form)
    assert isinstance(given, Unreadable)
    assert given.reason == reason


@pytest.mark.parametrize("event", sorted(DECODERS))
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "body_not_json"),
        (b"\xff", "body_not_utf8"),
        (b"[]", "body_unexpected"),
        (b"{}", "body_unexpected"),
        (b'{"action":7}', "body_unexpected"),
        (b'{"skipped":' + b"[" * 100_000, "body_too_deep"),
    ],
    ids=["empty", "not UTF-8", "a list", "no fields", "a wrong action", "deep"],
)
def test_a_body_that_is_not_of_its_event_is_unreadable(event, content, reason):
    given = identify(event, content)
    assert isinstance(given, Unreadable)
    assert given.reason == reason


WRONG = [None, True, 1.5, "x", [], {}, 10**30, -1, "9" * 5000]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: str(value)[:9])
@pytest.mark.parametrize("field", ["id", "number", "updated_at", "pull_request"])
@pytest.mark.parametrize("part", ["repository", "issue"])
def test_a_field_of_a_wrong_type_never_raises(part, field, wrong):
    sample = json.loads(BODY)
    sample[part][field] = wrong
    assert isinstance(identify("issues", body(sample)), (Identity, Unreadable))


def test_a_time_that_is_none_is_not_taken_for_no_version():
    sample = json.loads(BODY)
    sample["issue"]["updated_at"] = "yesterday"
    assert identify("issues", body(sample)).reason == "resource_version_malformed"


@pytest.mark.parametrize(
    ("event", "delivery", "reason"),
    [
        ("issues", "", "event_id_missing"),
        ("issues", "x" * 513, "id_too_long"),
        ("issues", "a\x00b", "id_malformed"),
        ("issues", "a\x7fb", "id_malformed"),
        ("issues", "\ud800", "id_malformed"),
        ("", "d-1", "event_type_missing"),
        ("is sues", "d-1", "event_type_malformed"),
        ("issués", "d-1", "event_type_malformed"),
        ("x" * 100_000, "d-1", "event_type_malformed"),
    ],
)
def test_headers_that_name_no_event_are_unreadable(event, delivery, reason):
    assert identify(event, BODY, delivery).reason == reason


def test_a_missing_header_is_unreadable():
    assert PROVIDER.identify(request({}, BODY)).reason == "event_id_missing"
    assert PROVIDER.identify(request({"x-github-delivery": "d"}, BODY)).reason == (
        "event_type_missing"
    )


def test_an_action_of_free_text_is_left_out_of_the_type():
    content = body({"action": "deploy to prod!", **REPO})
    assert identify("repository_dispatch", content).event_type == "github.repository_dispatch"
