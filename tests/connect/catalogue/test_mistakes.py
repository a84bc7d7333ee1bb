"""Entries of one's own: every mistake at once, each with its line; hostile files are bounded."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from producer.connect import located_yaml, templates
from producer.connect.systems import Catalogue, read_entry
from schemas.errors import ConfigurationError

GOOD = """\
id: acme
name: Acme
about: Orders of Acme.
categories: [orders]
logo: {initials: AC, colour: "#112233"}
sources: ["https://acme.example/docs"]
base_url: https://{site}.acme.example
fields:
  - id: site
    label: Site
    help: In the address bar.
    example: north
    pattern: "[a-z]{1,20}"
    mismatch: Small letters.
    kind: subdomain
  - id: token
    label: Token
    kind: secret
    secret: true
authorisation:
  kind: bearer
  token: "{token}"
validation:
  path: /me
  meanings:
    - {status: 401, code: wrong, what: Wrong., why: Typed wrong., next: Type it again.}
webhook:
  provider: hmac
  options:
    header: X-Signature
    signed: "{timestamp}.{body}"
    timestamp_header: X-Time
    event_id: body:/id
    event_type: body:/type
  secret:
    source: generated
  registration:
    how: api
    call:
      method: POST
      path: /hooks
      json: {url: "{webhook_url}", secret: "{signing_secret}"}
    id: /id
    remove: {method: DELETE, path: "/hooks/{webhook_id}"}
  test: {how: registration}
"""

REMOVE = '    remove: {method: DELETE, path: "/hooks/{webhook_id}"}'


def problems(text: str, name: str = "acme.yaml") -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_entry(text, name)
    return caught.value.problems


def changed(*pairs: tuple[str, str]) -> str:
    text = GOOD
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def test_a_good_entry_is_read():
    assert read_entry(GOOD, "acme.yaml").id == "acme"


def test_all_mistakes_are_told_at_once_each_with_its_line():
    told = problems(
        changed(
            ("name: Acme", "nmae: Acme"),
            ('colour: "#112233"', "colour: red"),
            ("kind: bearer", "kind: baerer"),
            ("method: POST", "method: PUSH"),
        )
    )
    assert told[0].startswith("acme.yaml:1: name: is needed")
    assert "acme.yaml:2: nmae: there is no such key" in told
    assert any(one.startswith("acme.yaml:5: logo.colour:") for one in told)
    assert any(one.startswith("acme.yaml:20: authorisation") for one in told)
    assert any("webhook.registration.call.method" in one for one in told)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("id: acme", "id: other", "acme.yaml:1: id: is 'other', so the file must be called other"),
        ('token: "{token}"', 'token: "{tokken}"', "{tokken} is no field of this entry"),
        ('token: "{token}"', "token: fixed", "names no field that is marked `secret: true`"),
        ("    secret: true\n", "", "`kind: secret` and `secret: true` go together"),
        ("    kind: secret\n", "", "`kind: secret` and `secret: true` go together"),
        ("    example: north", "    example: North 1", "example: does not match the pattern"),
        ('"[a-z]{1,20}"', '"[a-z"', "pattern: is no pattern"),
        ('"[a-z]{1,20}"', r'"\\A[a-z]+"', "has a form that browsers do not know"),
        ('"[a-z]{1,20}"', '"(?P<a>[a-z]+)"', "has a form that browsers do not know"),
        ('"[a-z]{1,20}"', '"([a-z]+)*"', "repeats a repetition"),
        ("    mismatch: Small letters.\n", "", "say in `mismatch`"),
        (
            '    pattern: "[a-z]{1,20}"\n    mismatch: Small letters.\n',
            "",
            "it must have a pattern",
        ),
        ("https://{site}", "http://{site}", "must begin with https://"),
        ("https://{site}.acme.example", '"{site}"', "must be a field of kind url"),
        ("provider: hmac", "provider: hmacc", "there is no such provider; there are: calendly"),
        ("    timestamp_header: X-Time\n", "", "signed has {timestamp}: write which header"),
        ("    header: X-Signature\n", "    heder: X\n    header: X-S\n", "has no such option"),
        ("  path: /me", "  path: me", "must begin with /"),
        ("  path: /me", "  path: /me\n  url: https://a.example", "write either `path`"),
        ("  path: /me", '  path: "/me?t={token}"', "has a secret in a URL"),
        ("  path: /me", "  path: /me\n  json: {a: b}", "a GET has no body"),
        ("  path: /me", "  path: /me\n  headers: {Host: evil}", "is set by the client itself"),
        ("status: 401", "status: 404", "say what a 401 means"),
        ('secret: "{signing_secret}"', "secret: fixed", "does not tell {signing_secret}"),
        ('url: "{webhook_url}"', "url: fixed", "tells the system no {webhook_url}"),
        ("    id: /id\n", "", "`remove` needs the webhook's id"),
        (REMOVE, f"{REMOVE}\n    rotate: {{path: /a}}", "rotate: does not tell {signing_secret}"),
        (
            REMOVE,
            f"{REMOVE}\n    rotate: {{path: /a, pointer: /s}}",
            "is for a secret that the system makes",
        ),
        ("source: generated", "source: answer", "`source: answer` and `pointer` go together"),
        ("source: generated", "source: field", "`source: field` and `field` go together"),
        ("source: generated", "source: field\n    field: site", "mark the field site as"),
        ("source: generated", "source: app", "is our OAuth client's: there is none here"),
        ("how: registration", "how: customer", "say what makes the system send an event"),
        ("how: registration", "how: api", "`how: api` and `call` go together"),
        ("name: Acme\n", "name: Acme\nname: Acme\n", "acme.yaml:3: name is here a second time"),
    ],
)
def test_a_mistake_says_what_to_write(old, new, said):
    assert any(said in one for one in problems(changed((old, new)))), problems(changed((old, new)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "just text",
        "a: [",
        "a: !!python/object/apply:os.system [echo]",
        "a: &a [*a]",
        "&a {x: *a}",
        "a: " + "[" * 5_000 + "]" * 5_000,
        "\ta: b",
        "a: \x00",
        "? [a]\n: b",
        "{" * 100_000,
        "<<: {id: acme}",
        "id: 2026-01-01",
        "\udcff: 1",
    ],
    ids=range(15),
)
def test_a_file_that_is_none_is_told_and_nothing_runs(text):
    assert problems(text)


def test_what_aliases_stand_for_is_counted():
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
    )
    began = time.monotonic()
    assert "is too large or nested too deep" in problems(bomb)[0]
    assert time.monotonic() - began < 20


def test_a_file_far_too_large_is_not_even_read_whole(tmp_path: Path):
    (tmp_path / "acme.yaml").write_text("#" * 3_000_000)
    with pytest.raises(ConfigurationError, match="is it the right file"):
        Catalogue.load(tmp_path)


def test_no_mistake_quotes_a_value(tmp_path: Path):
    told = problems(changed(("    secret: true\n", "    secret: canary-s3cret\n")))
    assert "canary" not in "\n".join(told)
    assert "canary" not in "\n".join(problems("a: 'canary-s3cret\nb: c"))


def test_entries_of_ones_own_stand_beside_ours_and_take_their_place(tmp_path: Path):
    (tmp_path / "acme.yaml").write_text(GOOD)
    (tmp_path / "github.yaml").write_text(changed(("id: acme", "id: github")))
    (tmp_path / "notes.txt").write_text("not an entry")
    catalogue = Catalogue.load(tmp_path)
    assert catalogue.get("acme").name == "Acme"
    assert catalogue.get("github").name == "Acme"
    assert len(catalogue) == len(Catalogue.load()) + 1


def test_the_mistakes_of_all_files_are_told_together(tmp_path: Path):
    (tmp_path / "one.yaml").write_text("id: one")
    (tmp_path / "two.yaml").write_text("a: [")
    (tmp_path / "three.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError) as caught:
        Catalogue.load(tmp_path)
    assert {one.partition(":")[0] for one in caught.value.problems} == {
        *("one.yaml", "two.yaml", "three.yaml"),
    }


def test_a_folder_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="there is no such folder"):
        Catalogue.load(tmp_path / "none")


def test_yamls_words_for_yes_and_dates_stay_texts():
    read = located_yaml.parse(
        "[no, on, yes, true, 2026-01-01, 1_000, 0x10, 12, 1.5, ~, '5']",
        "f",
        max_chars=99,
        max_nodes=99,
    )
    assert read.value == [
        *("no", "on", "yes", True, "2026-01-01", "1_000", "0x10", 12, 1.5, None, "5"),
    ]


def test_only_names_that_are_known_are_filled():
    values = {"site": "{token}", "token": "s"}
    assert (
        templates.fill("{site}.{body} {Site} { site }", values) == "{token}.{body} {Site} { site }"
    )
    assert templates.fill(
        "a/{site}", {"site": "x y"}, as_=lambda text: text.replace(" ", "%20")
    ) == ("a/x%20y")
    filled = templates.fill_all({"{token}": ["{token}", 1, None, ("{token}",)]}, values)
    assert filled == {"{token}": ["s", 1, None, ["s"]]}
    assert set(templates.names([{"a": "{b}{c}"}, "{d}", 5])) == {"b", "c", "d"}


OAUTH = """\
authorisation:
  kind: oauth2_code
  authorise_url: https://{site}.acme.example/authorise
  token_url: https://{site}.acme.example/token
"""


@pytest.mark.parametrize("url", ["{own}/token", "https://{site}/token", "https://{site}:8443/t"])
def test_our_clients_secret_is_not_sent_to_a_host_that_a_customer_names(url: str) -> None:
    bearer = 'authorisation:\n  kind: bearer\n  token: "{token}"\n'
    own = "fields:\n  - {id: own, label: Address, kind: url}\n"
    good = GOOD.replace(bearer, OAUTH).replace("fields:\n", own)
    read_entry(good, "acme.yaml")
    wrong = good.replace("token_url: https://{site}.acme.example/token", f'token_url: "{url}"')
    with pytest.raises(ConfigurationError, match="our secret"):
        read_entry(wrong, "acme.yaml")
