"""A real Vault with an AppRole for Hookline, behind the same methods as the stand-in's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx

from tests.parts.vault import VaultServer

_ROLE = "auth/approle/role/hookline"
_WRITER = "auth/approle/role/hookline-writer"
SECRETS_PAGE = Path(__file__).parents[2] / "docs" / "secrets.md"


def hcl_policies(page: str) -> list[str]:
    """The policies of the page, in their order: for reading, for writing."""
    return re.findall(r"```hcl\n(.*?)```", page, re.DOTALL)


class VaultUnderTest:
    """What an operator does there, by its HTTP API as root."""

    def __init__(self, server: VaultServer) -> None:
        self._server = server
        self._denied: set[str] = set()
        self.address = server.address
        server.call("POST", "sys/auth/approle", {"type": "approle"})
        self._write_policy()
        server.call("POST", _ROLE, {"token_policies": ["hookline"], "token_ttl": "1h"})

    def new_secret_id(self) -> tuple[str, str]:
        """A role id and a secret id that log in."""
        role_id = self._server.call("GET", f"{_ROLE}/role-id")["data"]["role_id"]
        return role_id, self._server.call("POST", f"{_ROLE}/secret-id")["data"]["secret_id"]

    def new_writer_id(self) -> tuple[str, str]:
        """A role id and a secret id that may write below secret/hookline/connect, as the docs say.

        It has the policy of docs/secrets.md, word for word.
        """
        policy = hcl_policies(SECRETS_PAGE.read_text())[1]
        self._server.call("POST", "sys/policies/acl/hookline-connect", {"policy": policy})
        self._server.call("POST", _WRITER, {"token_policies": ["hookline-connect"]})
        role_id = self._server.call("GET", f"{_WRITER}/role-id")["data"]["role_id"]
        return role_id, self._server.call("POST", f"{_WRITER}/secret-id")["data"]["secret_id"]

    def read(self, path: str) -> Any:
        """What is at secret/`path`: its metadata, which any version has; None if nothing is."""
        try:
            return self._server.call("GET", f"secret/metadata/{path}")["data"]
        except httpx.HTTPStatusError as error:
            if error.response.status_code != 404:
                raise
            return None

    def write(self, path: str, data: dict[str, Any]) -> None:
        """A new version of secret/`path`."""
        self._server.call("POST", f"secret/data/{path}", {"data": data})

    def remove(self, path: str) -> None:
        """Delete the newest version."""
        self._server.call("DELETE", f"secret/data/{path}")

    def deny(self, path: str) -> None:
        """Take the role's right to read it."""
        self._denied.add(path)
        self._write_policy()

    def end_tokens(self) -> None:
        """Revoke every token that a log-in has made."""
        self._server.call("PUT", "sys/leases/revoke-prefix/auth/approle")

    def end_secret_ids(self) -> None:
        """No log-in works any longer."""
        for accessor in self._server.call("LIST", f"{_ROLE}/secret-id")["data"]["keys"]:
            self._server.call(
                "POST",
                f"{_ROLE}/secret-id-accessor/destroy",
                {"secret_id_accessor": accessor},
            )

    def _write_policy(self) -> None:
        rules = ['path "secret/data/*" { capabilities = ["read"] }']
        rules += [
            f'path "secret/data/{path}" {{ capabilities = ["deny"] }}' for path in self._denied
        ]
        self._server.call("POST", "sys/policies/acl/hookline", {"policy": "\n".join(rules)})
