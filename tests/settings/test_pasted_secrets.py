"""A secret itself in the settings, where a reference belongs or anywhere near: no error shows it.

Nor does the error's traceback, with all that it came from.
"""

from __future__ import annotations

import secrets
import traceback
from pathlib import Path

import pytest

from hookline.settings.loading import load
from producer.providers.registry import PROVIDERS
from schemas.errors import ConfigurationError
from tests.end_to_end.canaries import Canary, search

GOOD = """\
environment: test
kafka:
  bootstrap_servers: "localhost:9092"
  properties:
    security.protocol: SASL_SSL
    sasl.password: env:KAFKA_PASSWORD
connections:
  - id: a
    tenant: acme
    provider: github
    secrets:
      - name: "1"
        ref: env:A_SECRET
credentials:
  vault:
    address: https://vault.example:8200
    approle:
      role_id: hookline
      secret_id: env:SECRET_ID
consumer:
  group: orders
  handlers: "examples.orders:handlers"
  store: postgresql://u@h/d
  store_password: env:STORE_PASSWORD
  forward:
    - events: "*"
      url: https://a.example/b
      bearer: env:BEARER
      secrets: [env:SIGNING]
"""

#: Where a value is written, as it stands in GOOD.
PLACES = {
    "a signing secret": "ref: env:A_SECRET",
    "Kafka's password": "sasl.password: env:KAFKA_PASSWORD",
    "the store's password": "store_password: env:STORE_PASSWORD",
    "a bearer": "bearer: env:BEARER",
    "Vault's secret id": "secret_id: env:SECRET_ID",
}
#: How it is pasted there; {} is the secret.
WAYS = {
    "plain": " {}",
    "in quotes": ' "{}"',
    "in two sorts of quotes": " \"{}'",
    "a quote that is not closed": ' "{}',
    "no space": "{}",
    "with a colon": " {}: x",
    "with two colons": " a:b: {}",
    "as an alias": " *{}",
    "as an anchor": " &{} [",
    "as a tag": " !{} x",
    "as a tag handle": " !{}!x y",
    "as a directive": " %{}",
    "with an at": " @{}",
    "with a backtick": " `{}`",
    "a bad escape": ' "\\{}"',
    "a block": " |\n{}",
    "a folded block": " >-\n          {}\n          {}\n",
    "a list": " [{}]",
    "an open list": " [{}",
    "a mapping": " {{{}: {}}}",
    "an open mapping": " {{a: {}",
    "a tab before": "\t{}",
    "a reference's scheme": " env:{}",
    "another scheme": " file:{}",
    "a scheme in capitals": " ENV:{}",
    "an unknown scheme": " plain:{}",
    "Vault's scheme": " vault:{}",
    "a scheme and a space": " env: {}",
    "twice": " {}\n{} x",
    "a NUL": ' "{}\\0"',
    "a control character": " {}\x01",
}
#: Whole lines in place of others.
LINES = [
    ('      - name: "1"\n        ref: env:A_SECRET', "      - {}"),
    ('    secrets:\n      - name: "1"\n        ref: env:A_SECRET', "    secrets: {}"),
    ('    secrets:\n      - name: "1"\n        ref: env:A_SECRET', "    secret: {}"),
    ('name: "1"', "name: {} x"),
    ('      - name: "1"\n        ref: env:A_SECRET', "      - {}: x"),
    ('      - name: "1"', '      - {}: x\n        name: "1"'),
    ("    tenant: acme", "    tenant: acme\n    secret:{}"),
    ("    provider: github", "    provider: github\n    secret:{}"),
    ("    provider: github", "    provider: github\n    options: {}"),
    ("    provider: github", "    provider: github\n    options: [{}]"),
    ("    provider: github", "    provider: github\n    options: {{secret: {}}}"),
    ("    provider: github", "    provider: github\n    options: {{tolerance_s: {}}}"),
    ("  properties:\n    security.protocol: SASL_SSL", "  properties: {}\n  x:\n    y: z"),
    ("    security.protocol: SASL_SSL", "    security.protocol: SASL_SSL\n    sasl.password:{}"),
    ("    security.protocol: SASL_SSL", "    ssl.key.password: {}"),
    ("    security.protocol: SASL_SSL", "    ssl.key.pem: {}"),
    ("    security.protocol: SASL_SSL", "    sasl.oauthbearer.client.secret: {}"),
    (
        "    security.protocol: SASL_SSL",
        "    sasl.oauthbearer.assertion.private.key.passphrase: {}",
    ),
    ("kafka:\n", "kafka:\n  sasl.password: {}\n"),
    ("kafka:\n", "kafka:\n  password: {}\n"),
    ("connections:\n", "connections: {}\nx:\n"),
    ("connections:\n", "connections: [{}]\nx:\n"),
    ("  group: orders", "  group: orders\n  store_password:{}"),
    ("  group: orders", "  group: orders\n    password:{}"),
    ("    provider: github", "    provider: github\n      secret:{}"),
    ('  bootstrap_servers: "localhost:9092"', "  bootstrap_servers: localhost:9092\n    p:{}"),
    ("    security.protocol: SASL_SSL", "    security.protocol: SASL_SSL\n      password:{}"),
    ("postgresql://u@h/d", "postgresql://u:{}@h/d"),
    ("postgresql://u@h/d", "postgresql://u@h/d?password={}"),
    ("postgresql://u@h/d", "u:{}@h/d"),
    ("https://a.example/b", "https://u:{}@a.example/b"),
    ("https://a.example/b", "//u:{}@a.example/b"),
    ("https://a.example/b", "https://a.example/b?token={}"),
    ("https://a.example/b", "https://a.example/b?a=b&API_KEY={}"),
    ("https://a.example/b", "env:{}"),
    ("https://a.example/b", "https://[u:{}@a.example/b"),
    ("secrets: [env:SIGNING]", "secrets: [{}]"),
    ("secrets: [env:SIGNING]", "secrets: {}"),
    ("      bearer: env:BEARER", "      proxy: http://u:{}@proxy:1"),
    ("https://vault.example:8200", "https://u:{}@vault.example:8200"),
    ("https://vault.example:8200", "{}"),
    ("https://vault.example:8200", "https://vault.example:8200?token={}"),
    ("credentials:\n", "credentials:\n  aws: {{endpoint_url: 'https://u:{}@sm.example'}}\n"),
    ("credentials:\n", "credentials:\n  aws: {{endpoint_url: 'https://sm.example?key={}'}}\n"),
    ("credentials:\n", "credentials:\n  aws: {{endpoint_url: 'https://u:{}@sm\u2100'}}\n"),
    ("    approle:\n", "    token: {}\n    approle:\n"),
    ("    approle:\n", "    approle: {}\n    x:\n"),
    ("credentials:\n", "credentials: {}\nx:\n"),
    ("environment: test", "environment: test password:{}"),
]
CASES = [
    *(
        pytest.param(place, place.partition(":")[0] + ":" + way, id=f"{where}, {how}")
        for where, place in PLACES.items()
        for how, way in WAYS.items()
    ),
    *(pytest.param(old, new, id=new.strip()) for old, new in LINES),
]


@pytest.fixture
def pasted() -> Canary:
    core = secrets.token_hex(12)
    return Canary("the pasted secret", core, core)


def told(path: Path, environ: dict[str, str] | None = None) -> str:
    """The error, and all that `--debug` would show of it."""
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ or {})
    return "\n".join([str(caught.value), *traceback.format_exception(caught.value)])


@pytest.mark.parametrize(("old", "new"), CASES)
def test_a_pasted_secret_is_not_told(tmp_path: Path, pasted: Canary, old: str, new: str) -> None:
    path = tmp_path / "hookline.yaml"
    assert GOOD.count(old) == 1
    path.write_text(GOOD.replace(old, new.format(*[pasted.value] * 3)))
    said = told(path)
    assert search({"error": said.encode()}, [pasted]) == [], said
    # It says where all the same.
    assert "hookline.yaml" in said


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_a_secret_among_options_is_not_told(tmp_path: Path, pasted: Canary, name: str) -> None:
    """Each option with a line behind it whose colon has no space, which YAML adds to its value."""
    provider = PROVIDERS[name]
    options = list(provider.Options.model_fields)
    written = "".join(f"\n      {one}: x\n        secret:{pasted.value}" for one in options)
    written = f"\n    options:{written}\n      y: z"
    path = tmp_path / "hookline.yaml"
    path.write_text(GOOD.replace("provider: github", f"provider: {name}{written}"))
    said = told(path)
    assert search({"error": said.encode()}, [pasted]) == [], said


@pytest.mark.parametrize(
    "variable",
    [
        *("CONNECTIONS__0__SECRETS__0__REF", "CONNECTIONS__0__SECRETS", "CONNECTIONS__0"),
        *("KAFKA__PROPERTIES", "KAFKA", "CONSUMER__STORE_PASSWORD", "CONSUMER__STORE"),
        *("CREDENTIALS__VAULT__APPROLE__SECRET_ID", "CREDENTIALS__VAULT", "CONNECTIONS"),
        *("CONSUMER__FORWARD__0__BEARER", "CONSUMER__FORWARD"),
        *("KAFKA__PASSWORD", "CONNECTIONS__7__SECRETS__0__REF", "CREDENTIAL__VAULT__TOKEN"),
    ],
)
def test_a_secret_in_a_variable_is_not_told(tmp_path: Path, pasted: Canary, variable: str) -> None:
    path = tmp_path / "hookline.yaml"
    path.write_text(GOOD)
    value = f"u:{pasted.value}" if variable == "CONSUMER__STORE" else pasted.value
    said = told(path, {f"HOOKLINE_{variable}": value})
    assert search({"error": said.encode()}, [pasted]) == [], said
