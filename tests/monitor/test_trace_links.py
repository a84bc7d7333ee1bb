"""Links from a request id to its trace."""

from __future__ import annotations

import pytest

from consumer.monitor.trace_links import checked_template, trace_link

RID = "019a0b7c2d3e" + "ab" * 10


def test_jaegers_form() -> None:
    for host in ("https://jaeger.example", "https://jaeger.example/"):
        assert trace_link(f"jaeger+{host}", RID) == f"https://jaeger.example/trace/{RID}"


def test_tempos_form_is_an_explore_pane_of_grafana() -> None:
    link = trace_link("tempo+http://grafana:3000", RID)
    assert link is not None
    assert link.startswith("http://grafana:3000/explore?schemaVersion=1&panes=%7B")
    assert link.count(RID) == 1
    assert "{" not in link


def test_a_template_of_ones_own() -> None:
    assert trace_link("https://x/t?id={trace_id}", RID.upper()) == f"https://x/t?id={RID}"


@pytest.mark.parametrize("request_id", ["", "no id", RID[:-1], "../" + RID[3:], RID + "0"])
def test_what_is_no_request_id_has_no_link(request_id: str) -> None:
    assert trace_link("jaeger+https://jaeger.example", request_id) is None


def test_without_a_template_there_is_no_link() -> None:
    assert trace_link("", RID) is None


@pytest.mark.parametrize(
    "template",
    [
        "https://jaeger.example/trace",
        "javascript:alert('{trace_id}')",
        "jaeger+jaeger.example",
        "/trace/{trace_id}",
        "https://user:word@jaeger.example/{trace_id}",
    ],
)
def test_a_template_that_cannot_be_opened_is_refused_with_what_to_write(template: str) -> None:
    with pytest.raises(ValueError, match=r"jaeger\+https|password"):
        checked_template(template)
