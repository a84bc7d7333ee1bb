"""One marked secret for every place where a secret can be, and the connections that use them."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from credentials.seal_key import PREFIX, new_seal_key
from tests.end_to_end.canaries import Canary
from tests.providers.subjects import SUBJECTS, Subject

#: The name of the secret in the sealed file.
SEALED = "acme/in-sealed/signing"
#: What senders add to their requests beside the proof; nothing of it is ours to keep.
SENT_BESIDE = (
    *("authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"),
    *("tracestate", "baggage", "referer", "x-forwarded-access-token"),
)


class Marked:
    """The secrets of one run, by name; `environ` hands them to the processes."""

    def __init__(self, folder: Path) -> None:
        self.by_name: dict[str, Canary] = {}
        self.environ: dict[str, str] = {}
        self.connections = [self._connection(subject) for subject in SUBJECTS]
        in_file = folder / "signing-secret"
        in_file.write_text(self.awkward("SIGNING_FILE"))
        places = {
            "in-vault": "vault:secret/hooks#key",
            "in-file": f"file:{in_file}",
            "in-sealed": f"sealed:{SEALED}",
        }
        for name, ref in places.items():
            one = {"id": name, "tenant": "acme", "provider": "github"}
            self.connections.append(one | {"secrets": [{"name": "2026-11", "ref": ref}]})
        meta = next(one for one in self.connections if one["id"] == "meta")
        self.text("VERIFY_TOKEN")
        meta["secrets"].append({"name": "verify-token", "ref": "env:VERIFY_TOKEN"})
        for name in (
            *("KAFKA_PASSWORD", "REDIS_PASSWORD", "WRONG_PASSWORD"),
            *("FORWARD_BEARER", "VAULT_SECRET_ID", "OTLP_TOKEN"),
        ):
            self.text(name)
        for name in ("STORE_PASSWORD", "SIGNING_VAULT", "SIGNING_SEALED", "SEALED_BEFORE"):
            self.awkward(name)
        self._seal_keys()
        self.whsec("FORWARD_SECRET")
        self.environ["OTEL_EXPORTER_OTLP_HEADERS"] = "authorization=" + quote(
            f"Bearer {self['OTLP_TOKEN']}", safe=""
        )
        self.beside = {name: f"k={self.text(f'sent as {name}')}" for name in SENT_BESIDE}
        # In the one form of W3C Trace Context that is not dropped for its form.
        self.beside["tracestate"] = f"vendor={self.by_name['sent as tracestate'].core}"
        #: In every webhook's body: it may be in topics and stores, and nowhere else.
        self.payload = self._new("the payload", lambda core: f'zwölf "Äpfel" {core}')
        self.by_name.pop("the payload")

    def __getitem__(self, name: str) -> str:
        return self.by_name[name].value

    def __iter__(self) -> Iterator[Canary]:
        return iter(self.by_name.values())

    def text(self, name: str) -> str:
        """A new secret that a header, a URL and JSON each escape otherwise."""
        return self._new(name, lambda core: f"p+/&={core}~%41").value

    def awkward(self, name: str) -> str:
        """A new secret that no header could carry."""
        return self._new(name, lambda core: f"p\"\\ü/+%41 {core}'x").value

    def whsec(self, name: str) -> str:
        """A new secret as Standard Webhooks has them."""
        core = base64.b64encode(secrets.token_bytes(24)).decode()
        self.by_name[name] = Canary(name, f"whsec_{core}", core)
        self.environ[name] = f"whsec_{core}"
        return self.environ[name]

    def seen(self, name: str, value: str) -> None:
        """A value that is a secret from here on, such as a signature that was sent."""
        self.by_name[name] = Canary(name, value, value)

    def signing(self, subject: Subject, which: str = "NEW") -> str:
        """A secret of the subject's connection."""
        return self[f"{which}_{_place(subject)}"]

    def _new(self, name: str, write: Any) -> Canary:
        core = secrets.token_hex(12)
        canary = Canary(name, write(core), core)
        self.by_name[name] = canary
        if name.isupper():
            self.environ[name] = canary.value
        return canary

    def _seal_keys(self) -> None:
        keys = [new_seal_key().reveal() for _ in range(2)]
        for number, key in enumerate(keys):
            self.by_name[f"seal key {number}"] = Canary(
                f"seal key {number}", key, key.removeprefix(PREFIX)
            )
        self.environ["SEAL_KEY"] = ",".join(keys)

    def _connection(self, subject: Subject) -> dict[str, Any]:
        for which in ("OLD", "NEW"):
            name = f"{which}_{_place(subject)}"
            if subject.secret.startswith("whsec_"):
                self.whsec(name)
            else:
                user = "user:" if subject.name == "basic" else ""
                self._new(name, lambda core, user=user: f"{user}p+/&={core}~%41")
        return {
            "id": subject.name,
            "tenant": "acme",
            "provider": subject.provider,
            "options": dict(subject.options),
            "secrets": [
                {"name": "2026-10", "ref": f"env:OLD_{_place(subject)}"},
                {"name": "2026-11", "ref": f"env:NEW_{_place(subject)}"},
            ],
        }


def _place(subject: Subject) -> str:
    return subject.name.upper().replace("-", "_")


def with_note(body: bytes, note: str) -> bytes:
    """A body with a text in it that nothing is identified by."""
    if body[:1] not in (b"{", b"["):
        return body + b"&Note=" + quote(note).encode()
    value = json.loads(body)
    for item in value if isinstance(value, list) else [value]:
        item["note"] = note
        for inner in item.get("value", []) if isinstance(item.get("value"), list) else []:
            inner["note"] = note
    return json.dumps(value).encode()
