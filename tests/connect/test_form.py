"""What of a form is kept, and what is not."""

from __future__ import annotations

import pytest

from producer.connect.flow import form
from producer.connect.system import SystemField

FIELDS = [
    SystemField(id="site", label="Site", kind="subdomain", pattern="[a-z0-9-]{1,63}"),
    SystemField(id="address", label="Address", kind="url"),
    SystemField(id="mail", label="E-mail", kind="email"),
    SystemField(id="token", label="Token", kind="secret", secret=True),
]


@pytest.mark.parametrize(
    "token",
    [
        "ghp_" + "a1B2" * 9,
        "shpss_" + "0f" * 16,
        "eyJhbGciOiJIUzI1NiIsInR5cCI6.e30.x",
        "0123abCD" * 3,
    ],
)
@pytest.mark.parametrize("field", ["site", "address", "mail"])
def test_a_token_in_the_wrong_field_is_not_kept(field: str, token: str) -> None:
    found = form.read(FIELDS, {field: token}, {})
    assert field in found.mistakes
    assert token not in str(found.values)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("site", "north wind"),
        ("site", "northwind.zendesk.com"),
        ("address", "erp.northwind.example"),
        ("mail", "noor at northwind.example"),
    ],
)
def test_what_the_customer_mistyped_is_kept_to_be_mended(field: str, text: str) -> None:
    found = form.read(FIELDS, {field: text}, {})
    assert field in found.mistakes
    assert found.values[field] == text


def test_what_fits_is_kept_however_it_looks() -> None:
    found = form.read(FIELDS, {"site": "north-wind-trading-company-limited"}, {})
    assert "site" not in found.mistakes
    assert found.values["site"] == "north-wind-trading-company-limited"
