"""Standard Webhooks: what is believed, what is refused, and which event it is."""

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from producer.providers import standard_webhooks
from producer.providers.provider import Identity, Refusal, Refused, Unreadable, Verified
from producer.providers.registry import build
from schemas.errors import SecretFormatError
from tests.providers.http_request import NOW_S, body, key, payload, request

PROVIDER = build("standard_webhooks", {})
SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + b64encode(bytes(range(1, 33))).decode()
SEED = bytes(range(32))
PRIVATE = "whsk_" + b64encode(SEED).decode()
PUBLIC_RAW = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
PUBLIC = "whpk_" + b64encode(PUBLIC_RAW).decode()
BODY = payload("standard_webhooks", "invoice.paid")


def signed(secret=SECRET, content=BODY, event_id="msg_1", now_s=NOW_S):
    return dict(
        PROVIDER.sign(
            content,
            PROVIDER.load_key(secret),
            event_id=event_id,
            event_type="standard_webhooks.invoice.paid",
            now_s=now_s,
        )
    )


def verify(headers, content=BODY, secrets=(SECRET,), now_s=NOW_S):
    keys = [key(PROVIDER, secret, f"key-{n}") for n, secret in enumerate(secrets)]
    return PROVIDER.verify(request(headers, content), keys, now_s)


@pytest.mark.parametrize(("signer", "verifier"), [(SECRET, SECRET), (PRIVATE, PUBLIC)])
def test_what_is_signed_is_verified_and_one_changed_byte_is_not(signer, verifier):
    assert verify(signed(signer), secrets=[verifier]) == Verified("key-0")
    for at in (0, len(BODY) // 2, len(BODY) - 1):
        changed = bytearray(BODY)
        changed[at] ^= 1
        assert verify(signed(signer), bytes(changed), [verifier]) == Refused(
            Refusal.SIGNATURE_WRONG
        )


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_id_and_timestamp_are_signed_too(name):
    headers = signed()
    headers[name] = "1795433172" if name == "webhook-timestamp" else "msg_2"
    assert verify(headers) == Refused(Refusal.SIGNATURE_WRONG)


def test_svix_names_are_read_and_never_mixed_with_the_standard_ones():
    ours = signed()
    svix = {name.replace("webhook-", "svix-"): value for name, value in ours.items()}
    assert verify(svix) == Verified("key-0")
    assert PROVIDER.identify(request(svix, BODY)).event_id == "msg_1"
    svix["webhook-id"] = svix.pop("svix-id")
    assert verify(svix) == Refused(Refusal.SIGNATURE_MISSING)


def test_each_of_several_active_secrets_verifies_under_its_own_name():
    assert verify(signed(OTHER), secrets=[SECRET, OTHER]) == Verified("key-1")
    assert verify(signed(SECRET), secrets=[SECRET, OTHER]) == Verified("key-0")
    assert verify(signed(PRIVATE), secrets=[SECRET, PUBLIC]) == Verified("key-1")


def test_any_one_signature_of_the_list_suffices_and_unknown_versions_are_ignored():
    good = signed()["webhook-signature"]
    wrong = signed(OTHER)["webhook-signature"]
    for text in (f"{wrong} {good}", f"v2,AAAA {good}", f"v1 {good}", f"  {good}", f"{good} v1,é"):
        assert verify(signed() | {"webhook-signature": text}) == Verified("key-0"), text


def test_only_the_first_entries_of_the_list_are_looked_at():
    good, bound = signed()["webhook-signature"], standard_webhooks.MAX_SIGNATURES
    inside = " ".join(["v2,x"] * (bound - 1) + [good])
    outside = " ".join(["v2,x"] * bound + [good])
    assert verify(signed() | {"webhook-signature": inside}) == Verified("key-0")
    assert verify(signed() | {"webhook-signature": outside}) == Refused(Refusal.SIGNATURE_MALFORMED)


def test_costly_signatures_are_bounded_more_tightly():
    good, bound = signed(PRIVATE)["webhook-signature"], standard_webhooks.MAX_ED25519_SIGNATURES
    wrong = "v1a," + b64encode(bytes(64)).decode()
    inside = " ".join([wrong] * (bound - 1) + [good])
    outside = " ".join([wrong] * bound + [good])
    assert verify(signed() | {"webhook-signature": inside}, secrets=[PUBLIC]) == Verified("key-0")
    assert verify(signed() | {"webhook-signature": outside}, secrets=[PUBLIC]) == Refused(
        Refusal.SIGNATURE_WRONG
    )


def test_a_signature_counts_only_for_a_key_of_its_own_kind():
    # The classic confusion: the public key, which all know, taken as an HMAC secret.
    as_secret = "whsec_" + PUBLIC.removeprefix("whpk_")
    assert verify(signed(as_secret), secrets=[PUBLIC]) == Refused(Refusal.SIGNATURE_WRONG)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "v1",
        "v1,",
        "v1," + "A" * 42 + "=",
        "v1," + "!" * 44,
        "v1," + "A" * 20 + " " + "A" * 23 + "=",
        "v1," + "é" * 44,
        "v1," + "\ud800" * 44,
        "v1," + "A" * 100_000,
        "v1a," + "A" * 44,
        "v9," + "A" * 43 + "=",
        "x" * 100_000,
        " " * 100_000,
        ",",
        "\x00",
        "V1," + "A" * 43 + "=",
    ],
)
def test_a_malformed_signature_is_refused_as_such(text):
    assert verify(signed() | {"webhook-signature": text}) == Refused(Refusal.SIGNATURE_MALFORMED)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", " 5", "5 ", "-0", "+5", "1e9", "1.5", "nan", "inf", "0x5", "1_000", "٣", "²"),
        *("9" * 5000, "9" * 16, "\ud800", "é", "5\x00", "NaN", "1614265330."),
    ],
)
def test_a_timestamp_that_is_not_plain_digits_is_refused(text):
    assert verify(signed() | {"webhook-timestamp": text}) == Refused(Refusal.TIMESTAMP_MALFORMED)


@pytest.mark.parametrize(
    ("off_s", "inside"), [(-301, False), (-300, True), (300, True), (301, False)]
)
def test_the_window_is_as_wide_before_as_after(off_s, inside):
    given = verify(signed(now_s=NOW_S + off_s))
    assert given == (Verified("key-0") if inside else Refused(Refusal.TIMESTAMP_OUTSIDE_WINDOW))


def test_the_tolerance_is_an_option():
    strict = build("standard_webhooks", {"tolerance_s": 5})
    assert strict.verify(
        request(signed(now_s=NOW_S - 6), BODY), [key(strict, SECRET)], NOW_S
    ) == Refused(Refusal.TIMESTAMP_OUTSIDE_WINDOW)


@pytest.mark.parametrize(
    ("name", "missing", "repeated"),
    [
        ("webhook-id", Refusal.SIGNATURE_MISSING, Refusal.SIGNATURE_MALFORMED),
        ("webhook-signature", Refusal.SIGNATURE_MISSING, Refusal.SIGNATURE_MALFORMED),
        ("webhook-timestamp", Refusal.TIMESTAMP_MISSING, Refusal.TIMESTAMP_MALFORMED),
    ],
)
def test_a_missing_or_repeated_header_is_refused(name, missing, repeated):
    headers = signed()
    value = headers.pop(name)
    assert verify(headers) == Refused(missing)
    assert verify(headers | {name: [value, value]}) == Refused(repeated)


@pytest.mark.parametrize("event_id", ["", "msg.1", "msg_é"])
def test_an_id_that_makes_the_signed_text_ambiguous_is_refused(event_id):
    assert verify(signed() | {"webhook-id": event_id}) == Refused(Refusal.SIGNATURE_MALFORMED)


def test_a_signed_text_cut_in_another_way_is_refused():
    # id "msg.1795433171", signed over body B, is the same text as id "msg" over "<time>.B".
    headers = signed(event_id=f"msg.{int(NOW_S)}")
    cut = headers | {"webhook-id": "msg", "webhook-timestamp": str(int(NOW_S))}
    assert verify(headers) == Refused(Refusal.SIGNATURE_MALFORMED)
    assert verify(cut) == Refused(Refusal.SIGNATURE_WRONG)


def test_without_an_active_secret_nothing_is_believed():
    assert verify(signed(), secrets=[]) == Refused(Refusal.NO_ACTIVE_SECRET)


@pytest.mark.parametrize(
    "secret",
    [
        *("", "whsec_", "whsec_n0t base64", "whsec_é", "whpk_AAAA", "whpk_", "whsk_AAAA", "\ud800"),
        "whsk_" + b64encode(SEED + bytes(32)).decode(),
    ],
)
def test_a_secret_of_another_form_is_refused_without_being_shown(secret):
    with pytest.raises(SecretFormatError) as caught:
        PROVIDER.load_key(secret)
    value = secret.partition("_")[2]
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize(
    "secret",
    [SECRET.removeprefix("whsec_"), SECRET.rstrip("="), SECRET + "\n"],
    ids=["no prefix", "no padding", "a newline behind"],
)
def test_the_prefix_and_padding_of_a_secret_may_be_missing(secret):
    assert verify(signed(), secrets=[secret]) == Verified("key-0")


def test_a_private_key_may_have_its_public_key_behind_it():
    long = "whsk_" + b64encode(SEED + PUBLIC_RAW).decode()
    assert verify(signed(long), secrets=[PUBLIC]) == Verified("key-0")


def test_a_public_key_cannot_sign():
    with pytest.raises(SecretFormatError, match="whsk_"):
        signed(PUBLIC)


def identify(content, options=None, event_id="msg_1"):
    provider = build("standard_webhooks", options or {})
    return provider.identify(request({"webhook-id": event_id}, content))


def test_an_event_is_keyed_by_its_entity():
    assert identify(BODY) == Identity(
        event_id="msg_1",
        event_type="standard_webhooks.invoice.paid",
        resource_type="invoice",
        resource_id="inv_8Q2MZt4kP1",
        resource_version=None,
        occurred_at_us=1_795_429_570_344_522,
    )


def test_an_event_without_an_entity_is_keyed_alone():
    given = identify(payload("standard_webhooks", "report.ready"))
    assert (given.resource_type, given.resource_id) == ("event", "msg_1")
    given = identify(
        payload("standard_webhooks", "report.ready"), {"when_no_resource": "quarantine"}
    )
    assert given == Unreadable("resource_id_missing", "there is no resource id")


def test_sources_are_configurable():
    given = identify(
        payload("standard_webhooks", "customer.updated"),
        {"resource_type": "body:/data/object", "resource_version": "body:/data/version"},
    )
    assert (given.resource_type, given.resource_version) == ("customer", 17)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "body_not_json"),
        (b"\xff", "body_not_utf8"),
        (b'{"type":"a","skipped":"\xff"}', "body_not_utf8"),
        (b"{", "body_not_json"),
        (b'{"type":"a"} x', "body_not_json"),
        (b'{"type":"\\ud800"}', "body_not_json"),
        (b"[]", "body_unexpected"),
        (b"null", "body_unexpected"),
        (b'"text"', "body_unexpected"),
        (b'{"a":' * 100_000, "body_too_deep"),
        (b'{"type":"a","data":' + b"[" * 100_000, "body_too_deep"),
        (b"{}", "event_type_missing"),
        (b'{"type":null}', "event_type_missing"),
        (b'{"type":""}', "event_type_missing"),
        (b'{"type":7}', "event_type_malformed"),
        (b'{"type":["a"]}', "event_type_malformed"),
        (b'{"type":"a b"}', "event_type_malformed"),
        (b'{"type":".a"}', "event_type_malformed"),
        (b'{"type":"a..b"}', "event_type_malformed"),
        (b'{"type":"a\\u0000"}', "event_type_malformed"),
        (b'{"type":"' + b"a" * 201 + b'"}', "event_type_malformed"),
        (b'{"type":"a.b","data":{"id":{}}}', "id_malformed"),
        (b'{"type":"a.b","data":{"id":true}}', "id_malformed"),
        (b'{"type":"a.b","data":{"id":1.5}}', "id_malformed"),
        (b'{"type":"a.b","data":{"id":"a\\u0000b"}}', "id_malformed"),
        (b'{"type":"a.b","data":{"id":"a\\nb"}}', "id_malformed"),
        (b'{"type":"a.b","data":{"id":"a\\u0085b"}}', "id_malformed"),
        (b'{"type":"a.b","data":{"id":""}}', "resource_id_missing"),
        (b'{"type":"a.b","data":{"id":"' + b"x" * 513 + b'"}}', "id_too_long"),
        (b'{"type":"a.b","data":{"id":' + b"9" * 600 + b"}}", "id_too_long"),
        (b'{"type":"a.b","data":{"id":' + b"9" * 5000 + b"}}", "body_unexpected"),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else value,
)
def test_an_authentic_event_that_cannot_be_read_says_why(content, reason):
    given = identify(content)
    assert isinstance(given, Unreadable)
    assert given.reason == reason


@pytest.mark.parametrize("event_id", ["x" * 513, "a\x00b", "a\tb"])
def test_an_id_that_cannot_be_one_is_unreadable(event_id):
    assert isinstance(identify(BODY, event_id=event_id), Unreadable)


def test_a_list_where_an_object_was_expected_keys_the_event_alone():
    given = identify(body({"type": "a.b", "data": [1, 2]}))
    assert (given.event_type, given.resource_id) == ("standard_webhooks.a.b", "msg_1")


def test_of_a_key_that_stands_twice_the_last_counts():
    assert identify(b'{"type":"a","type":"b"}').event_type == "standard_webhooks.b"


def test_a_letter_beyond_ascii_is_fine_in_an_id():
    content = body({"type": "a.b", "data": {"id": "café-☃"}})
    assert identify(content).resource_id == "café-☃"


@pytest.mark.parametrize(
    ("version", "expected"),
    [(5, 5), ("5", 5), (-1, -1), (2**63 - 1, 2**63 - 1), ("1970-01-01T00:00:01Z", 1_000_000)],
)
def test_a_version_is_an_integer_or_a_time(version, expected):
    content = body({"type": "a", "data": {"id": "1", "v": version}})
    given = identify(content, {"resource_version": "body:/data/v"})
    assert given.resource_version == expected


@pytest.mark.parametrize("version", [2**63, 1.5, True, "later", "", [1], {"a": 1}, "9" * 5000])
def test_a_version_that_cannot_be_compared_is_unreadable_and_not_left_out(version):
    content = body({"type": "a", "data": {"id": "1", "v": version}})
    given = identify(content, {"resource_version": "body:/data/v"})
    assert isinstance(given, Unreadable)
    assert given.reason == "resource_version_malformed"


@pytest.mark.parametrize("moment", ["soon", True, [], {}, 1e300, "9" * 5000, ""])
def test_a_time_of_occurrence_that_is_none_is_left_out(moment):
    assert identify(body({"type": "a", "timestamp": moment})).occurred_at_us is None
