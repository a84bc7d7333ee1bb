"""The refusals, each made once: a forged flood should cost nothing to answer."""

from __future__ import annotations

from typing import Final

from producer.providers.provider import Refusal, Refused

SIGNATURE_MISSING: Final = Refused(Refusal.SIGNATURE_MISSING)
SIGNATURE_MALFORMED: Final = Refused(Refusal.SIGNATURE_MALFORMED)
SIGNATURE_WRONG: Final = Refused(Refusal.SIGNATURE_WRONG)
TIMESTAMP_MISSING: Final = Refused(Refusal.TIMESTAMP_MISSING)
TIMESTAMP_MALFORMED: Final = Refused(Refusal.TIMESTAMP_MALFORMED)
TIMESTAMP_OUTSIDE_WINDOW: Final = Refused(Refusal.TIMESTAMP_OUTSIDE_WINDOW)
NO_ACTIVE_SECRET: Final = Refused(Refusal.NO_ACTIVE_SECRET)
HANDSHAKE_REFUSED: Final = Refused(Refusal.HANDSHAKE_REFUSED)
