"""A customer's URL, taken apart: what is understood, and what is said of what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.outgoing.target import Malformed, parse, port_refused, redirected

UNDERSTOOD = (
    ("https://shop.example.com", "https", "shop.example.com", 443, "/"),
    ("HTTPS://Shop.Example.COM/Admin", "https", "shop.example.com", 443, "/Admin"),
    ("https://shop.example.com:8443/a/b?c=d&e", "https", "shop.example.com", 8443, "/a/b?c=d&e"),
    ("https://shop.example.com?x=1", "https", "shop.example.com", 443, "/?x=1"),
    ("https://shop.example.com/#/settings", "https", "shop.example.com", 443, "/"),
    ("https://b\u00fccher.example/\u00fc", "https", "xn--bcher-kva.example", 443, "/%C3%BC"),
    ("https://xn--bcher-kva.example/", "https", "xn--bcher-kva.example", 443, "/"),
    ("https://my_shop.example.com/", "https", "my_shop.example.com", 443, "/"),
    ("https://1.example.com/", "https", "1.example.com", 443, "/"),
    ("https://1.1.1.1/", "https", "1.1.1.1", 443, "/"),
    ("https://[2606:4700:0:0::1111]:8443/", "https", "2606:4700::1111", 8443, "/"),
    ("https://shop.example.com/a%20b/..%2f?q=%00", "https", "shop.example.com", 443,
     "/a%20b/..%2f?q=%00"),
)  # fmt: skip


@pytest.mark.parametrize(("url", "scheme", "host", "port", "path"), UNDERSTOOD)
def test_a_good_url_is_taken_apart(url: str, scheme: str, host: str, port: int, path: str) -> None:
    target = parse(url)
    assert (target.scheme, target.host, target.port, target.path) == (scheme, host, port, path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://shop.example.com", "write https:// instead"),
        ("shop.example.com", "does not begin with https://"),
        ("shop.example.com:8443/x", "does not begin with https://"),
        ("ftp://shop.example.com", "must begin with https://"),
        ("https://me:secret@shop.example.com", "fields of their own"),
        ("https://shop.example.com/a b", "copy it again"),
        ("https:\\\\shop.example.com", "write / instead"),
        ("https://shop.example.com./", "ends in a dot"),
        ("https://shop.example.com:https/", "from 1 to 65535"),
        ("https://shop.example.com:\u0664\u0664\u0663/", "from 1 to 65535"),
        ("https://shop/", "shop.example.com"),
        ("https://2130706433/", "write the system's name"),
        ("https://[fe80::1%25eth0]/", "network interface"),
        ("https://sh%6fp.example.com/", "write it out"),
        ("https://" + "a" * 64 + ".example.com", "that no name has"),
        ("https://" + "a." * 150 + "com", "that no name has"),
        ("https://shop.example.com/" + "a" * 5000, "longer than"),
    ],
)
def test_what_is_not_understood_is_refused_with_what_to_do(url: str, said: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_is_shown_of_a_target_has_no_query() -> None:
    target = parse("https://shop.example.com:8443/a?token=s3cret")
    assert target.url == "https://shop.example.com:8443/a"
    assert target.shown == "https://shop.example.com:8443"
    assert parse("https://[2606:4700::1]/x").authority == "[2606:4700::1]"
    assert parse("https://shop.example.com:443/").authority == "shop.example.com"


def test_short_names_and_plain_http_are_for_those_who_allow_them() -> None:
    assert parse("https://gitlab/", short_names=True).host == "gitlab"
    target = parse("http://shop.example.com/", https_only=False)
    assert (target.scheme, target.port) == ("http", 80)


@pytest.mark.parametrize("port", [22, 25, 53, 445, 993, 6000, 6667, 10080])
def test_ports_of_other_protocols_are_refused(port: int) -> None:
    assert port_refused(port) is not None


@pytest.mark.parametrize("port", [80, 443, 1024, 3000, 8080, 8443, 65535])
def test_ports_of_the_web_are_not(port: int) -> None:
    assert port_refused(port) is None


def test_a_redirect_is_read_against_where_it_came_from() -> None:
    source = parse("https://shop.example.com/a/b?c=1")
    go = lambda location: redirected(source, location, https_only=True, short_names=False)  # noqa: E731
    assert go("/x?y=2").path == "/x?y=2"
    assert go("x").path == "/a/x"
    assert go("//other.example.com/z").host == "other.example.com"
    assert go("https://other.example.com:8443/").origin == ("https", "other.example.com", 8443)
    for bad in ("http://shop.example.com/", "file:///etc/passwd", "//me@shop.example.com/",
                "/a\\b", "https://[::1/", "/a\tb"):  # fmt: skip
        with pytest.raises(Malformed):
            go(bad)


def test_a_redirect_does_not_leave_encryption_even_where_plain_http_is_allowed() -> None:
    source = parse("https://shop.example.com/", https_only=False)
    with pytest.raises(Malformed, match="not encrypted"):
        redirected(source, "http://shop.example.com/", https_only=False, short_names=False)


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_malformed(text: str) -> None:
    for url in (text, f"https://{text}", f"https://shop.example.com{text}"):
        try:
            target = parse(url, https_only=False)
        except Malformed:
            continue
        # What goes on the wire is plain ASCII without spaces, whatever was written.
        for part in (target.host, target.path, target.authority):
            assert part.isascii()
            assert part.isprintable()
            assert " " not in part
        assert parse(target.shown + target.path, https_only=False) == target
