"""The connect flow as the console's HTTP sees it: sessions, actions, views, the way back of OAuth.

What the customer enters that is secret goes to the secret backend before anything else is written,
and nowhere else. Everything here is for the console's event loop; what waits is in threads.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import AsyncIterator, Callable
from typing import Final

from msgspec.structs import replace

from credentials.secret import Secret
from producer.connect.actions import (
    Action,
    ActionKind,
    CameBack,
    Catalogue,
    FlowRefused,
    WantedSession,
)
from producer.connect.connection_records import ConnectionRecords
from producer.connect.effects import Cargo, Effects
from producer.connect.flow import form, machine, proofs, words
from producer.connect.flow import inputs as i
from producer.connect.flow.destinations import destinations
from producer.connect.flow.state import Check, FlowState, Step
from producer.connect.names import Names
from producer.connect.removal import Removal
from producer.connect.running import FlowRunner
from producer.connect.session import (
    Session,
    SessionRefused,
    make_session_token,
    parse_session_token,
)
from producer.connect.session_store import SessionStore
from producer.connect.system import System
from producer.connect.system_secrets import OverHttp, SystemSecrets
from producer.connect.view import View
from producer.connect.viewing import may_reveal, view_of
from producer.connect.way_back import WayBack
from schemas.errors import HooklineError, TopicError

__all__ = [
    "Action", "ActionKind", "CameBack", "Catalogue", "ConnectService", "FlowRefused", "Session",
    "SessionRefused", "View", "WantedSession",
]  # fmt: skip

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_ORIGIN: Final = re.compile(r"(https?://[A-Za-z0-9.:\[\]-]{1,255})?", re.ASCII)
_LOCALE: Final = re.compile(r"[A-Za-z0-9-]{0,35}", re.ASCII)
_MAX_LABEL_CHARS: Final = 200
_NO_DIGEST: Final = bytes(32)
_AWAY: Final = words.AWAY


class ConnectService:
    """See the module. From `start` to `close`."""

    def __init__(
        self,
        *,
        environment: str,
        catalogue: Catalogue,
        store: SessionStore,
        records: ConnectionRecords,
        effects: Effects,
        now_us: Callable[[], int],
        session_minutes: int = 30,
    ) -> None:
        self.environment = environment
        self._catalogue = catalogue
        self._store = store
        self._records = records
        self._effects = effects
        #: What changes a signing secret at its system.
        self.secrets: SystemSecrets = OverHttp(effects)
        self._now_us = now_us
        self._lasts_us = session_minutes * 60_000_000
        self._runner = FlowRunner(store, effects, catalogue, now_us)
        self._names = Names(store, records, self._runner)
        self._way_back = WayBack(store, self._runner, catalogue)
        self._removal = Removal(catalogue, records, effects, now_us)

    def start(self) -> None:
        """Begin to follow sessions and connections; callable from any thread."""
        self._store.start()
        self._records.start()

    async def begin(self) -> None:
        """Sweep expired sessions from now on; on the event loop, before the first request or with
        it. Actions do it too."""
        self._runner.begin()

    async def close(self) -> None:
        """End what runs on the event loop."""
        await self._runner.close()

    def stop(self, within_s: float = 2.0) -> None:
        """End the threads, after the event loop has ended."""
        self._effects.close()
        self._store.stop(within_s)
        self._records.stop(within_s)

    def live(self) -> tuple[bool, str]:
        """False when only a new process helps, and why."""
        for good, why in (self._store.live(), self._records.live()):
            if not good:
                return False, why
        return True, ""

    def ready(self) -> tuple[bool, str]:
        """Whether sessions are known, and if not, why."""
        problem = self._store.problem
        return not problem, f"connect sessions are not known: {problem}" if problem else ""

    def catalogue(self) -> Catalogue:
        """The systems there are."""
        return self._catalogue

    async def create(self, wanted: WantedSession) -> tuple[Secret, Session]:
        """A new session, and its token, which is shown this once.

        FlowRefused: `exists`, `unknown_system`, `invalid`, `unavailable`. Another open session for
        the same connection ends: its token lets nobody in any more.
        """
        self._runner.begin()
        self._check_wanted(wanted)
        try:
            if wanted.connection_id:
                await self._names.make_way(wanted.tenant, wanted.connection_id)
            token, public = make_session_token(self.environment)
            now_us = self._now_us()
            session = Session(
                id=public.id,
                environment=self.environment,
                digest=public.digest,
                tenant=wanted.tenant,
                connection_id=wanted.connection_id,
                systems=wanted.systems,
                system=wanted.system,
                label=wanted.label,
                locale=wanted.locale,
                origin=wanted.origin,
                created_at_us=now_us,
                created_by=wanted.by,
                expires_at_us=now_us + self._lasts_us,
            )
            if wanted.system:
                name = self._names.for_session(session, wanted.system)
                session = replace(session, flow=FlowState(connection_id=name))
            started = await self._runner.start(session)
            await self._names.is_first(session)
            return token, started
        except HooklineError as error:
            if isinstance(error, FlowRefused):
                raise
            raise FlowRefused("unavailable", f"{_AWAY} ({error})") from None

    async def admit(self, presented: str) -> Session:
        """The session of a token; SessionRefused, or FlowRefused (`unavailable`) while sessions are
        not known. One that has ended by `connected` is let in until it expires, so that its last
        view can be shown again."""
        self._runner.begin()
        found = parse_session_token(presented.strip())
        if found.environment != self.environment:
            raise SessionRefused(
                "environment", "This link belongs to another environment. Open it there."
            )
        try:
            session = self._store.get(found.id)
        except TopicError:
            raise FlowRefused("unavailable", _AWAY) from None
        # Compared in any case, so that the time does not tell which ids there are.
        digest = session.digest if session is not None else _NO_DIGEST
        if not hmac.compare_digest(digest, found.digest) or session is None:
            raise SessionRefused(
                "unknown", "This link is not known here. Open it again from where you found it."
            )
        if session.flow.step is Step.CANCELLED:
            raise SessionRefused("ended", words.ENDED[Step.CANCELLED])
        if self._now_us() >= session.expires_at_us or session.flow.step is Step.EXPIRED:
            raise SessionRefused("expired", words.ENDED[Step.EXPIRED])
        return session

    async def view(self, session_id: str) -> View:
        """How it stands; SessionRefused if there is none."""
        return self._view(self._session(session_id))

    async def act(self, session_id: str, action: Action) -> View:
        """Do it; the view afterwards, in which something may be running. FlowRefused."""
        self._runner.begin()
        session = self._session(session_id)
        given, cargo = self._input(session, action)
        try:
            whatever = action.kind in (ActionKind.CONFIRM, ActionKind.CANCEL)
            seen = None if whatever else action.revision
            answer = await self._runner.give(session_id, given, seen=seen, cargo=cargo)
        except HooklineError:
            raise FlowRefused("unavailable", _AWAY, self._view(session)) from None
        if answer.code:
            raise FlowRefused(answer.code, answer.text, self._view(answer.session))
        if action.kind is ActionKind.AUTHORISE:
            for task in answer.tasks:
                await task
            return self._view(self._session(session_id), cargo.url)
        return self._view(answer.session)

    async def changes(self, session_id: str) -> AsyncIterator[View]:
        """First the current view, then each later one; ends when the flow has ended."""
        self._runner.begin()
        session = self._session(session_id)
        while True:
            yield self._view(session)
            seen = session.flow.seen
            while session.flow.seen == seen:
                if session.flow.ended and not session.flow.running:
                    return
                await self._store.turn()
                session = self._session(session_id)

    async def came_back(self, state: str, code: str, error: str) -> CameBack:
        """OAuth's way back, which finds its session by `state`; never raises for bad input. What
        came is used after the action `confirm`, and not before."""
        self._runner.begin()
        return await self._way_back.take(state, code, error)

    async def reveal(self, session_id: str) -> Secret:
        """The signing secret that the customer is to paste; FlowRefused where there is none."""
        session = self._session(session_id)
        system = self._system(session)
        if system is None or not may_reveal(session.flow, system):
            raise FlowRefused("not_now", words.NOT_NOW, self._view(session))
        try:
            return await self._effects.calls.resolve(session.flow.secrets["signing_secret"])
        except HooklineError:
            raise FlowRefused("unavailable", _AWAY, self._view(session)) from None

    async def check(self, connection_id: str) -> tuple[Check, ...]:
        """Try a connection that was made here: the checks of its credentials, run now.

        FlowRefused (`not_now`) if it was not made by the connect flow.
        """
        return await self._removal.check(connection_id)

    async def remove(self, connection_id: str, by: str) -> tuple[str, ...]:
        """Take a connection away: refuse its webhooks first, then unregister the webhook at the
        system, delete its secrets, and at last its records. What could not be done, in words."""
        return await self._removal.remove(connection_id, by)

    def _session(self, session_id: str) -> Session:
        try:
            session = self._store.get(session_id)
        except TopicError:
            raise FlowRefused("unavailable", _AWAY) from None
        if session is None:
            raise SessionRefused("unknown", "There is no such session here. Start again.")
        return session

    def _system(self, session: Session) -> System | None:
        return self._catalogue.get(session.flow.system)

    def _view(self, session: Session, consent_url: str = "") -> View:
        return view_of(
            session,
            self._system(session),
            machine.allowed(session.flow, self._runner.at(session)),
            self._effects.calls.webhook_url(session.flow.connection_id),
            consent_url,
        )

    def _check_wanted(self, wanted: WantedSession) -> None:
        name = wanted.connection_id
        wrong = {
            "tenant": not _SLUG.fullmatch(wanted.tenant),
            "connection_id": bool(name) and not _SLUG.fullmatch(name),
            "origin": not _ORIGIN.fullmatch(wanted.origin),
            "locale": not _LOCALE.fullmatch(wanted.locale),
            "label": len(wanted.label) > _MAX_LABEL_CHARS or not wanted.label.isprintable(),
        }
        if bad := [name for name, is_wrong in wrong.items() if is_wrong]:
            raise FlowRefused(
                "invalid",
                f"{', '.join(bad)}: write up to 63 small letters, digits, dots, dashes or "
                "underscores for names, https://host for an origin, and a label of one line",
            )
        named = {*wanted.systems, *([wanted.system] if wanted.system else [])}
        if unknown := sorted(one for one in named if self._catalogue.get(one) is None):
            raise FlowRefused(
                "unknown_system",
                f"there is no system {', '.join(unknown)}: `hookline catalogue list` shows them",
            )
        if wanted.system and wanted.systems and wanted.system not in wanted.systems:
            raise FlowRefused("invalid", "system is not one of systems")

    def _input(self, session: Session, action: Action) -> tuple[i.FromCustomer, Cargo]:
        kind = action.kind
        if kind is ActionKind.CHOOSE:
            try:
                name = self._names.for_session(session, action.system)
            except TopicError:
                raise FlowRefused("unavailable", _AWAY, self._view(session)) from None
            return i.Choose(system=action.system, connection_id=name), Cargo()
        if kind in (ActionKind.DETAILS, ActionKind.REGISTER):
            system = self._system(session)
            first = kind is ActionKind.DETAILS
            fields = (
                []
                if system is None
                else (system.fields if first else system.webhook.registration.fields)
            )
            held, before = session.flow.secrets, session.flow.values
            filled = form.read(fields, action.values, held)
            elsewhere = False
            if first and held and system is not None:
                after = destinations(system, {**before, **filled.values})
                elsewhere = after != destinations(system, before)
                filled = form.read(fields, action.values, held, elsewhere=elsewhere)
            given = (i.Details if first else i.Register)(
                values=filled.values,
                secret_fields=tuple(filled.secrets) if not filled.mistakes else (),
                mistakes=filled.mistakes,
                elsewhere=elsewhere,
            )
            return given, Cargo(secrets=filled.secrets)
        if kind is ActionKind.CONFIRM:
            presented = action.values.get("proof", "")
            return i.Confirm(digest=proofs.digest(session.id, presented)), Cargo()
        return _PLAIN[kind](), Cargo()


_PLAIN: Final[dict[ActionKind, Callable[[], i.FromCustomer]]] = {
    ActionKind.AUTHORISE: i.Authorise,
    ActionKind.RETRY: i.Retry,
    ActionKind.BACK: i.Back,
    ActionKind.SEND_TEST: i.SendTest,
    ActionKind.SKIP: i.Skip,
    ActionKind.CANCEL: i.Cancel,
}
