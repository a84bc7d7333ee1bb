"""Signs what is forwarded by Standard Webhooks, so that its receiver can use any library of it.

`v1` is HMAC-SHA256 over id, timestamp and body; with several secrets each signs, so that the
receiver can change its own at any time. Source: the Standard Webhooks specification.
"""

from __future__ import annotations

import hmac
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from credentials.secret import Secret
from schemas.errors import SecretFormatError

MAX_SECRETS: Final = 8


class WebhookSigner:
    """Holds the keys of one target; SecretFormatError (without the value) for one that is none."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        if len(secrets) > MAX_SECRETS:
            raise SecretFormatError(
                f"at most {MAX_SECRETS} secrets sign one webhook, these are {len(secrets)}: "
                "take those away that no receiver uses any more"
            )
        self._keys = tuple(_key(secret) for secret in secrets)

    def headers(self, message_id: str, body: bytes, now_s: float) -> dict[str, str]:
        """The three `webhook-` headers; empty without a secret. The id may hold no dot."""
        if not self._keys:
            return {}
        timestamp = str(int(now_s))
        content = f"{message_id}.{timestamp}.".encode() + body
        signatures = (hmac.digest(key, content, "sha256") for key in self._keys)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(
                f"v1,{b2a_base64(signature, newline=False).decode()}" for signature in signatures
            ),
        }


def _key(secret: Secret) -> bytes:
    text = secret.reveal().strip().removeprefix("whsec_")
    key = b""
    # Told below, where the original error, which may quote the value, is not the context.
    with suppress(ValueError):
        key = a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    if not key:
        raise SecretFormatError(
            "a Standard Webhooks secret is whsec_ and base64 behind it, and this one is not: make "
            'one with `python -c "import secrets, base64; '
            "print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\"`"
        )
    return key
