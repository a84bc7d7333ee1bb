"""Our API tokens: their form, what is refused, and what of them is kept."""

from __future__ import annotations

import random
import re
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from credentials.api_token import MAX_CHARS, checksum, make_token, parse_token, public_part
from credentials.followed_tokens import FollowedTokens
from credentials.token_check import admit, again, may_grant, require
from credentials.token_editor import DAY_US, KEPT_US, TokenEditor
from credentials.token_ledger import MAX_TOKENS, TokenLedger, TokenStanding
from hookline.telemetry.redaction import Redactor
from schemas.access_codec import API_TOKEN, TOKEN_USE
from schemas.api_token import ApiToken, Scope, TokenKey, TokenRecord, TokenUse
from schemas.errors import (
    ConfigurationError,
    ScopeMissing,
    TokenOfOtherEnvironment,
    TokenRefused,
    TokensUnknown,
)
from tests.access.making import ENVIRONMENT, HOUR_US, NOW_US, issue, revoke

environments = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True)
seeds = st.integers(0, 2**64)
LETTERS = string.ascii_letters + string.digits


def token_of(environment: str, seed: int) -> str:
    return make_token(environment, random.Random(seed).choice)[0].reveal()


@given(environments, seeds)
def test_a_token_is_read_as_it_was_made(environment: str, seed: int) -> None:
    secret, made = make_token(environment, random.Random(seed).choice)
    assert parse_token(secret.reveal()) == made
    assert made.environment == environment
    assert len(made.digest) == 32
    assert public_part(secret.reveal()) == f"hl_{environment}_{made.id}"
    assert len(secret.reveal()) <= MAX_CHARS


def test_a_token_holds_more_than_160_random_bits_beside_its_id() -> None:
    drawn: list[str] = []
    make_token("test", lambda letters: drawn.append(letters) or letters[0])
    assert len(set(drawn[0])) == len(drawn[0]) == 62
    assert (len(drawn) - 8) * 5.954 > 160


@given(environments, seeds, st.data())
def test_a_changed_character_is_refused_by_the_checksum(
    environment: str, seed: int, data: st.DataObject
) -> None:
    text = token_of(environment, seed)
    at = data.draw(st.integers(len(environment) + 4, len(text) - 1))
    other = data.draw(st.sampled_from(LETTERS))
    assume(text[at] != other)
    with pytest.raises(TokenRefused) as caught:
        parse_token(text[:at] + other + text[at + 1 :])
    assert caught.value.reason == "checksum"
    assert text[-20:] not in str(caught.value)


@given(environments, seeds, st.data())
def test_what_is_cut_doubled_or_swapped_is_refused(
    environment: str, seed: int, data: st.DataObject
) -> None:
    text = token_of(environment, seed)
    at = data.draw(st.integers(0, len(text) - 2))
    for wrong in (text[:at] + text[at + 1 :], text[:at] + text[at] + text[at:],
                  text[:at] + text[at + 1] + text[at] + text[at + 2 :]):  # fmt: skip
        if wrong != text:
            with pytest.raises(TokenRefused):
                parse_token(wrong)


@given(st.text(max_size=300) | st.text(LETTERS + "_.-", max_size=100).map("hl_".__add__))
def test_nothing_else_is_a_token_and_nothing_is_repeated(text: str) -> None:
    with pytest.raises(TokenRefused) as caught:
        parse_token(text)
    assert len(text) < 8 or text not in str(caught.value)
    public_part(text)


@given(environments, environments, seeds)
def test_another_environment_is_refused_with_both_names(one: str, other: str, seed: int) -> None:
    assume(one != other)
    ledger = TokenLedger(other)
    with pytest.raises(TokenOfOtherEnvironment) as caught:
        admit(ledger, token_of(one, seed), NOW_US)
    assert f"of environment {one}, and this is {other}" in str(caught.value)


@given(st.integers(-HOUR_US, HOUR_US))
def test_a_token_counts_until_it_expires_and_no_longer(after_us: int) -> None:
    ledger = TokenLedger(ENVIRONMENT)
    secret, _ = issue(ledger, expires_at_us=NOW_US)
    if after_us < 0:
        assert admit(ledger, secret.reveal(), NOW_US + after_us).environment == ENVIRONMENT
        return
    with pytest.raises(TokenRefused) as caught:
        admit(ledger, secret.reveal(), NOW_US + after_us)
    assert caught.value.reason == "expired"


@given(st.sets(st.sampled_from(list(Scope))))
def test_a_token_may_what_its_scopes_say_and_nothing_else(scopes: set[Scope]) -> None:
    ledger = TokenLedger(ENVIRONMENT)
    secret, _ = issue(ledger, [*scopes, "of-a-later-build:write"])
    admission = admit(ledger, secret.reveal(), NOW_US)
    for scope in Scope:
        if scope in scopes:
            require(admission, scope)
        else:
            with pytest.raises(ScopeMissing, match=scope.value):
                require(admission, scope)


def test_nobody_gives_a_scope_that_he_does_not_have() -> None:
    ledger = TokenLedger(ENVIRONMENT)
    secret, _ = issue(ledger, [Scope.TOKENS_WRITE, Scope.EVENTS_READ])
    admission = admit(ledger, secret.reveal(), NOW_US)
    may_grant(admission, frozenset({Scope.EVENTS_READ.value}))
    with pytest.raises(ScopeMissing, match="payloads:read"):
        may_grant(admission, frozenset({Scope.PAYLOADS_READ.value}))


def test_a_token_of_the_right_form_that_nobody_made_is_not_known() -> None:
    ledger = TokenLedger(ENVIRONMENT)
    secret, token_id = issue(ledger)
    forged, _ = make_token(ENVIRONMENT)
    # The id of one that there is, and another secret.
    start = f"hl_{ENVIRONMENT}_{token_id}{forged.reveal()[-34:-6]}"
    for text in (forged.reveal(), start + checksum(start)):
        with pytest.raises(TokenRefused) as caught:
            admit(ledger, text, NOW_US)
        assert caught.value.reason == "unknown"
    assert admit(ledger, f" {secret.reveal()}\n", NOW_US).token_id == token_id


@given(st.permutations(["token", "revocation", "use", "token"]))
def test_a_revocation_has_the_last_word_in_whatever_order(order: list[str]) -> None:
    source, ledger = TokenLedger(ENVIRONMENT), TokenLedger(ENVIRONMENT)
    secret, token_id = issue(source)
    token = source.token(token_id)
    assert token is not None
    use = TokenUse(environment=ENVIRONMENT, id=token_id, used_at_us=NOW_US)
    records = {
        "token": (TokenRecord.TOKEN, API_TOKEN.encode(token)),
        "revocation": (TokenRecord.REVOCATION, b"unreadable"),
        "use": (TokenRecord.USE, TOKEN_USE.encode(use)),
    }
    for offset, what in enumerate(order):
        record, value = records[what]
        ledger.apply(TokenKey(ENVIRONMENT, token_id, record).encode(), value, offset)
    assert ledger.standing(token_id, NOW_US) is TokenStanding.REVOKED
    with pytest.raises(TokenRefused, match="revoked"):
        admit(ledger, secret.reveal(), NOW_US)
    assert ledger.next_offset == 4


def test_a_record_that_cannot_be_read_or_is_anothers_lets_nobody_in() -> None:
    ledger = TokenLedger(ENVIRONMENT)
    secret, token_id = issue(ledger)
    one, other = issue(TokenLedger("other"))[1], TokenLedger(ENVIRONMENT)
    key = TokenKey(ENVIRONMENT, token_id).encode()
    ledger.apply(key, b"\xc3\x01 of a later build", 1)
    assert ledger.standing(token_id, NOW_US) is TokenStanding.UNREADABLE
    with pytest.raises(TokenRefused):
        admit(ledger, secret.reveal(), NOW_US)
    with pytest.raises(TokenRefused):
        again(ledger, token_id, NOW_US)
    for bad in (None, b"", b"x", b"test/short", b"test/Ab3dEf7h/other", b"\xff/Ab3dEf7h",
                b"test/Ab3dEf7h/revoked/x", b"other/Ab3dEf7h"):  # fmt: skip
        assert other.apply(bad, b"x", 0) is None
    assert other.ids() == []
    assert one not in other.ids()


def test_a_key_and_its_record_must_agree() -> None:
    ledger = TokenLedger(ENVIRONMENT)
    secret, token_id = issue(ledger)
    token = ledger.token(token_id)
    assert token is not None
    moved = TokenLedger(ENVIRONMENT)
    moved.apply(TokenKey(ENVIRONMENT, "AAAAAAAA").encode(), API_TOKEN.encode(token), 0)
    assert moved.standing("AAAAAAAA", NOW_US) is TokenStanding.UNREADABLE
    with pytest.raises(TokenRefused):
        admit(moved, secret.reveal(), NOW_US)


def test_the_ledger_is_bounded_and_says_what_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credentials.token_ledger.MAX_TOKENS", 3)
    ledger = TokenLedger(ENVIRONMENT)
    ids = [issue(ledger)[1] for _ in range(5)]
    assert ledger.ids() == ids[:3]
    revoke(ledger, ids[0])
    assert ledger.standing(ids[0], NOW_US) is TokenStanding.REVOKED
    assert ledger.foreign == {"beyond 3 tokens": 2}
    assert MAX_TOKENS == 10_000


def test_nobody_is_let_in_while_the_tokens_are_not_known() -> None:
    ledger = TokenLedger(ENVIRONMENT)
    secret, _ = issue(ledger)
    ledger.problem = "no answer from Kafka"  # type: ignore[misc]
    with pytest.raises(TokensUnknown, match="no answer from Kafka"):
        admit(ledger, secret.reveal(), NOW_US)


@given(environments, seeds)
def test_the_redactor_knows_a_token_in_any_environment(environment: str, seed: int) -> None:
    text = token_of(environment, seed)
    shown = Redactor().redact(f"got {text}, failed")
    assert text[-42:] not in shown
    assert re.search(r"got hl_\S+_\*{10}, failed", shown)
    # The public part stays readable.
    assert Redactor().redact("hl_test_Ab3dEf7h") == "hl_test_Ab3dEf7h"


class Written:
    """A topic that keeps what is written."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes | None]] = []

    def write_all(self, records: list[tuple[bytes, bytes | None]]) -> int:  # type: ignore[override]
        self.records += records
        return len(self.records) - 1


class Office:
    """Where tokens are made, at a time that can be moved."""

    def __init__(self) -> None:
        self.ledger = TokenLedger(ENVIRONMENT)
        self.topic = Written()
        self.now_us = NOW_US
        self.editor = TokenEditor(
            self.ledger,
            self.topic,
            "alice@desk",
            lambda: self.now_us,  # type: ignore[arg-type]
        )

    def make(self, **more: object) -> tuple[str, ApiToken]:
        wanted = {"name": "ci", "scopes": [Scope.EVENTS_READ], "expires_at_us": NOW_US + DAY_US}
        secret, token = self.editor.create(**(wanted | more))  # type: ignore[arg-type]
        return secret.reveal(), token


def test_what_is_made_counts_and_only_its_digest_is_written() -> None:
    office = Office()
    text, token = office.make()
    assert admit(office.ledger, text, NOW_US).token_id == token.id
    written = b"".join(value or b"" for _, value in office.topic.records)
    assert token.digest in written
    assert text.encode()[-34:-6] not in written


def test_the_old_one_counts_until_the_overlap_ends_and_the_new_one_on() -> None:
    office = Office()
    old_text, old = office.make(expires_at_us=NOW_US + 30 * DAY_US)
    office.now_us += DAY_US
    secret, new, ending = office.editor.rotate(old.id, HOUR_US)
    assert (new.rotated_from, ending.rotated_to) == (old.id, new.id)
    assert (new.name, new.scopes) == (old.name, old.scopes)
    # As long as the old one was made for.
    assert new.expires_at_us == office.now_us + 30 * DAY_US
    for text in (old_text, secret.reveal()):
        admit(office.ledger, text, office.now_us + HOUR_US - 1)
    with pytest.raises(TokenRefused, match="counted until"):
        admit(office.ledger, old_text, office.now_us + HOUR_US)
    # The new one first: a crash in between leaves both.
    keys = [TokenKey.decode(key) for key, _ in office.topic.records]
    assert [key.id for key in keys if key] == [old.id, new.id, old.id]


def test_a_rotation_never_lengthens_the_old_one_and_never_undoes_a_revocation() -> None:
    office = Office()
    _, old = office.make(expires_at_us=NOW_US + HOUR_US)
    assert office.editor.rotate(old.id, DAY_US)[2].expires_at_us == NOW_US + HOUR_US
    office.editor.revoke(old.id)
    assert office.ledger.standing(old.id, NOW_US) is TokenStanding.REVOKED
    with pytest.raises(ConfigurationError, match="is revoked"):
        office.editor.rotate(old.id, DAY_US)
    with pytest.raises(ConfigurationError, match="tokens list"):
        office.editor.rotate("AAAAAAAA", DAY_US)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": ""}, "--name"),
        ({"name": "x\n"}, "--name"),
        ({"scopes": []}, "there are events:read"),
        ({"scopes": ["events:write"]}, "'events:write' is none"),
        ({"expires_at_us": NOW_US}, "in the past"),
        ({"expires_at_us": NOW_US + 367 * DAY_US}, "366 days"),
    ],
)
def test_what_is_asked_for_wrongly_is_told_and_nothing_is_written(
    wrong: dict[str, object], words: str
) -> None:
    office = Office()
    with pytest.raises(ConfigurationError, match=words):
        office.make(**wrong)
    assert office.topic.records == []


def test_what_has_long_expired_is_forgotten_and_lets_nobody_in() -> None:
    office = Office()
    text, old = office.make()
    office.editor.revoke(old.id)
    office.now_us += DAY_US + KEPT_US
    office.make(expires_at_us=office.now_us + DAY_US)
    assert old.id in office.ledger.ids()
    office.now_us += 1
    office.make(expires_at_us=office.now_us + DAY_US)
    assert old.id not in office.ledger.ids()
    with pytest.raises(TokenRefused, match="not known"):
        admit(office.ledger, text, office.now_us)
    # First the token itself, so that its revocation is never gone before it.
    gone = [TokenKey.decode(key) for key, value in office.topic.records if value is None]
    assert [key.record for key in gone if key] == list(TokenRecord)


def test_while_the_topic_is_read_again_what_was_known_stands_but_for_what_is_revoked() -> None:
    source, tokens = TokenLedger(ENVIRONMENT), FollowedTokens(ENVIRONMENT, lambda: "away")
    made = [issue(source) for _ in range(2)]
    records = [
        (TokenKey(ENVIRONMENT, token_id).encode(), API_TOKEN.encode(token))
        for _, token_id in made
        if (token := source.token(token_id)) is not None
    ]
    tokens.began(False)
    assert tokens.problem == "away"
    for key, value in records:
        tokens.came(key, value, 0)
    with pytest.raises(TokensUnknown):
        admit(tokens, made[0][0].reveal(), NOW_US)
    tokens.ended(2)
    assert tokens.problem == ""
    for secret, _ in made:
        admit(tokens, secret.reveal(), NOW_US)
    tokens.began(False)
    tokens.came(TokenKey(ENVIRONMENT, made[0][1], TokenRecord.REVOCATION).encode(), b"x", 3)
    with pytest.raises(TokenRefused, match="revoked"):
        admit(tokens, made[0][0].reveal(), NOW_US)
    admit(tokens, made[1][0].reveal(), NOW_US)
    # A topic that was made anew has none of them.
    tokens.began(True)
    tokens.ended(0)
    for secret, _ in made:
        with pytest.raises(TokenRefused):
            admit(tokens, secret.reveal(), NOW_US)
