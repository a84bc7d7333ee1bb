"""OAuth's way back. A link to consent can be handed to somebody else: so what comes back by it is
kept and not used until whoever holds the session's token shows what the page was given that the
other system led back to (login CSRF: RFC 6819, 4.4.1.8; RFC 9700, 4.7)."""

from __future__ import annotations

import re
import secrets
from typing import Final

from msgspec.structs import replace

from credentials.secret import Secret
from producer.connect.actions import CameBack, Catalogue
from producer.connect.effects import Cargo
from producer.connect.flow import inputs as i
from producer.connect.flow import words
from producer.connect.flow.proofs import make_proof
from producer.connect.flow.state import Step
from producer.connect.oauth import state_digest
from producer.connect.running import FlowRunner
from producer.connect.session_store import SessionStore
from schemas.errors import HooklineError

_MAX_STATE_CHARS: Final = 500
_MAX_CODE_CHARS: Final = 4_000
_UNKNOWN: Final = CameBack(
    ok=False, title="This did not work", text=words.CONSENT_USED, code="state_unknown"
)
_AWAY: Final = CameBack(
    ok=False, title="This did not work yet", text=words.AWAY, code="unavailable"
)


class WayBack:
    """For one event loop."""

    def __init__(self, store: SessionStore, runner: FlowRunner, catalogue: Catalogue) -> None:
        self._store = store
        self._runner = runner
        self._catalogue = catalogue

    async def take(self, state: str, code: str, error: str) -> CameBack:
        """What the page says; never raises for bad input. A state counts once."""
        digest = state_digest(state[:_MAX_STATE_CHARS])
        try:
            found = [s for s in self._store.all() if state and s.flow.oauth_state == digest]
            if not found:
                return _UNKNOWN
            session = found[0]
            denied = re.sub(r"[^a-z_]", "", error.lower())[:60] or ("" if code else "no_code")
            if error and not denied:
                denied = "refused"
            proof = make_proof(session.id, secrets.choice)
            given = i.Consent(state_digest=digest, denied=denied, proofs=proof.digests)
            cargo = Cargo(code=Secret(code[:_MAX_CODE_CHARS]) if code else None)
            answer = await self._runner.give(session.id, given, cargo=cargo)
            if answer.code:
                return _UNKNOWN
            for task in answer.tasks:
                await task
            session = self._store.get(session.id) or session
        except HooklineError:
            return _AWAY
        flow, system = session.flow, self._catalogue.get(session.flow.system)
        name = system.name if system is not None else ""
        about = CameBack(
            ok=False, title="", text="", session_id=session.id, system=name, origin=session.origin
        )
        if flow.problem is not None and flow.step is Step.AUTHORISE:
            return replace(
                about,
                title="Access was not given",
                text=f"{flow.problem.what} {flow.problem.next}",
                code=flow.problem.code,
            )
        if flow.step is not Step.AUTHORISE or "oauth_code" not in flow.secrets:
            # It was left, or has ended, meanwhile.
            return _UNKNOWN
        return replace(
            about,
            ok=True,
            title=f"{name} has said yes",
            text=words.CONFIRM,
            proof=proof.sent,
            typed=proof.typed,
        )
