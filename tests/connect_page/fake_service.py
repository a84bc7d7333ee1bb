"""A connect service with a script in place of the world: the same interface, every state.

What the customer enters says what happens (`FAILURES`); `hold` names checks that wait.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from credentials.secret import Secret
from producer.connect.flow import words
from producer.connect.flow.proofs import Proof, digest, make_proof
from producer.connect.flow.state import CheckState, Explanation, FlowState
from producer.connect.service import (
    Action,
    ActionKind,
    CameBack,
    ConnectService,
    FlowRefused,
    WantedSession,
)
from producer.connect.session import (
    Session,
    SessionRefused,
    make_session_token,
    parse_session_token,
)
from producer.connect.system import System
from producer.connect.view import (
    ArrivedView,
    AuthoriseView,
    ConnectionView,
    FormView,
    GuideView,
    SystemView,
    TestView,
    View,
    WebhookView,
)
from tests.connect_page.script import (
    ARRIVED,
    BY_API,
    BY_HAND,
    DENIED,
    FAILURES,
    SIGNING_SECRET,
    SYSTEMS,
    TEST,
    VALIDATE,
    FakeCatalogue,
    form,
    steps,
    waiting,
)

ENVIRONMENT = "production"


class _Flow:
    def __init__(self, session: Session, view: View) -> None:
        self.session = session
        self.view = view
        self.ended = ""
        self.changed = asyncio.Event()


class FakeService(ConnectService):
    """See the module."""

    environment = ENVIRONMENT

    def __init__(self, systems: Sequence[System] = SYSTEMS, pace_s: float = 0.01) -> None:
        self._catalogue = FakeCatalogue(systems)
        self._flows: dict[str, _Flow] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.pace_s = pace_s
        self.hold: set[str] = set()
        self.kept: list[str] = []
        self.acted: list[Action] = []
        self.refuse: list[Exception] = []
        self.vendor = "https://vendor.example.com"
        #: What every text of the other system is made into.
        self.evil = lambda text: text

    def catalogue(self) -> FakeCatalogue:
        return self._catalogue

    def make(
        self, wanted: WantedSession | None = None, minutes: float = 30, origin: str = ""
    ) -> str:
        """A session's token, from any thread."""
        wanted = wanted or WantedSession(tenant="acme")
        token, kept = make_session_token(ENVIRONMENT)
        now_us = time.time_ns() // 1000
        session = Session(
            id=kept.id,
            environment=ENVIRONMENT,
            digest=kept.digest,
            tenant=wanted.tenant,
            systems=wanted.systems,
            system=wanted.system,
            origin=origin or wanted.origin,
            created_at_us=now_us,
            expires_at_us=now_us + int(minutes * 60e6),
            flow=FlowState(),
        )
        ends = datetime.fromtimestamp(session.expires_at_us / 1e6, UTC)
        view = View(
            revision=0,
            step="choose",
            expires_at=ends.isoformat().replace("+00:00", "Z"),
            tenant=wanted.tenant,
            label=wanted.label,
            steps=steps("choose"),
            actions=("choose", "cancel"),
        )
        flow = self._flows[kept.id] = _Flow(session, view)
        if wanted.system:
            flow.view = self._chosen(view, wanted.system)
        return token.reveal()

    def end(self, token: str, reason: str) -> None:
        """Its token lets nobody in any more."""
        self._flows[parse_session_token(token).id].ended = reason

    def view_of(self, token: str) -> View:
        """How it stands."""
        return self._flows[parse_session_token(token).id].view

    def put(self, token: str, **changes: object) -> None:
        """Make it stand otherwise; called on the loop."""
        self._become(self._flows[parse_session_token(token).id], **changes)

    async def admit(self, presented: str) -> Session:
        found = parse_session_token(presented)
        flow = self._flows.get(found.id)
        if flow is None or flow.session.digest != found.digest:
            raise SessionRefused("unknown", "This link is not one of ours.")
        if flow.ended:
            raise SessionRefused(flow.ended, "This link works no more. Open it again.")
        return flow.session

    async def view(self, session_id: str) -> View:
        return self._flows[session_id].view

    async def changes(self, session_id: str) -> AsyncIterator[View]:
        flow = self._flows[session_id]
        seen = -1
        while True:
            if flow.view.revision > seen:
                seen = flow.view.revision
                yield flow.view
                if flow.view.step in ("connected", "cancelled", "expired"):
                    return
            flow.changed.clear()
            if flow.view.revision == seen:
                await flow.changed.wait()

    async def reveal(self, session_id: str) -> Secret:
        return Secret(SIGNING_SECRET)

    async def came_back(self, state: str, code: str, error: str) -> CameBack:
        for flow in self._flows.values():
            if flow.view.step == "authorise" and state == flow.session.id:
                if error:
                    self._become(flow, problem=DENIED)
                    return CameBack(
                        ok=False, title="Access was not allowed", text="Go back and try again.",
                        code="denied",
                    )  # fmt: skip
                self.proof = make_proof(flow.session.id, secrets.choice)
                self._become(flow, actions=("authorise", "confirm", "back", "cancel"))
                return CameBack(
                    ok=True, title="Shopify has said yes", text="Type this code where you began.",
                    proof=self.proof.sent, typed=self.proof.typed, origin=flow.session.origin,
                )  # fmt: skip
        return CameBack(ok=False, title="Used before", text="Go back and try again.", code="state")

    async def act(self, session_id: str, action: Action) -> View:
        flow = self._flows[session_id]
        self.acted.append(action)
        if self.refuse:
            raise self.refuse.pop(0)
        if action.kind is ActionKind.CONFIRM:
            return self._confirmed(flow, action.values["proof"])
        if action.revision != flow.view.revision:
            raise FlowRefused("stale", "This was changed in another window.", flow.view)
        kind = action.kind
        if kind is ActionKind.CHOOSE:
            self._set(flow, self._chosen(flow.view, action.system))
        elif kind is ActionKind.DETAILS:
            self._details(flow, dict(action.values))
        elif kind is ActionKind.AUTHORISE:
            self._become(flow, problem=None)
            url = f"{self.vendor}/consent?state={session_id}"
            return replace(flow.view, authorise=AuthoriseView(url=url, system=self._name(flow)))
        elif kind is ActionKind.REGISTER:
            self._become(flow, busy="register", checks=waiting(BY_HAND), actions=())
            self._start(self._walk(flow, BY_HAND, self._to_test))
        elif kind is ActionKind.RETRY:
            self._become(flow, problem=None)
            self._run(flow)
        elif kind is ActionKind.BACK:
            target = flow.view.system.id if flow.view.system and flow.view.step != "details" else ""
            blank = replace(flow.view, checks=(), problem=None)
            if target:
                self._set(flow, self._chosen(blank, target, filled=True))
            else:
                self._set(flow, replace(
                    blank, step="choose", system=None, form=None, steps=steps("choose"),
                    revision=blank.revision + 1, actions=("choose", "cancel"),
                ))  # fmt: skip
        elif kind is ActionKind.SEND_TEST:
            self._become(flow, busy="test", checks=waiting(TEST), actions=("cancel",))
            self._start(self._walk(flow, TEST, self._connected))
        elif kind is ActionKind.CANCEL:
            self._become(flow, step="cancelled", actions=())
        return flow.view

    proof: Proof

    def _confirmed(self, flow: _Flow, presented: str) -> View:
        if digest(flow.session.id, presented) in self.proof.digests:
            self._run(flow)
        else:
            self._become(flow, problem=words.code_wrong("Shopify"))
        return flow.view

    # The script.

    def _chosen(self, view: View, system_id: str, filled: bool = False) -> View:
        system = self._catalogue.get(system_id)
        if system is None:
            raise FlowRefused("unknown_system", "There is no such system.", view)
        shown = SystemView(
            id=system.id,
            name=self.evil(system.name),
            about=self.evil(system.about),
            initials=system.logo.initials,
            colour=system.logo.colour,
            path=system.logo.path,
            minutes=3,
        )
        return replace(
            view,
            revision=view.revision + 1,
            step="details",
            system=shown,
            form=form(system_id, self.evil, filled=filled),
            steps=steps("details"),
            actions=("details", "back", "cancel"),
        )

    def _details(self, flow: _Flow, values: dict[str, str]) -> None:
        system = flow.view.system
        assert system is not None
        token = values.pop("token", "")
        self.kept.append(token)
        if "nowhere" in values.get("url", ""):
            mistakes = {"url": self.evil("There is no such repository. Look for a typing error.")}
            self._become(
                flow, form=form(system.id, self.evil, values, mistakes, filled=bool(token))
            )
            return
        self._trouble = next((FAILURES[k] for k in FAILURES if token.startswith(k)), None)
        if system.id == "shopify":
            self._become(
                flow,
                step="authorise",
                steps=steps("authorise"),
                form=None,
                authorise=AuthoriseView(system=self._name(flow)),
                actions=("authorise", "back", "cancel"),
            )
            return
        self._run(flow)

    _trouble: tuple[str, Explanation] | None = None

    def _name(self, flow: _Flow) -> str:
        assert flow.view.system is not None
        return flow.view.system.name

    def _run(self, flow: _Flow) -> None:
        self._become(
            flow,
            step="validate",
            steps=steps("validate"),
            form=None,
            busy="validate",
            checks=waiting(VALIDATE),
            problem=None,
            actions=("cancel",),
        )
        self._start(self._walk(flow, VALIDATE, self._to_register))

    def _to_register(self, flow: _Flow) -> None:
        by_hand = flow.view.system is not None and flow.view.system.id == "any-hmac"
        e = self.evil
        guides = (
            "Open the settings of the other system, and find “Webhooks”.",
            "Choose “Add”, paste the address, then the signing secret.",
            "Save.",
        )
        webhook = WebhookView(
            how="manual" if by_hand else "api",
            url="https://hooks.example.com/webhooks/acme-any-hmac-with-a-rather-long-name",
            events=(e("invoice.paid"), e("invoice.voided")),
            has_secret=by_hand,
            guidance=tuple(GuideView(text=e(one)) for one in guides) if by_hand else (),
        )
        self._become(
            flow,
            step="register",
            steps=steps("register"),
            webhook=webhook,
            checks=(),
            busy="" if by_hand else "register",
            account=e("octocat"),
            form=FormView(fields=(), guidance=(), submit=e("I have saved it")) if by_hand else None,
            actions=("register", "cancel") if by_hand else ("cancel",),
        )
        if not by_hand:
            self._become(flow, checks=waiting(BY_API))
            self._start(self._walk(flow, BY_API, self._to_test))

    def _to_test(self, flow: _Flow) -> None:
        self._become(
            flow,
            step="test",
            steps=steps("test"),
            form=None,
            busy="",
            checks=waiting(TEST),
            test=TestView(
                how="api",
                optional=False,
                guidance=(GuideView(text=self.evil("Or change something in the other system.")),),
            ),
            actions=("send_test", "cancel"),
        )

    def _connected(self, flow: _Flow) -> None:
        self._become(
            flow,
            step="connected",
            busy="",
            steps=steps(""),
            actions=(),
            arrived=ArrivedView(request_id="0198" + "ab" * 14, at=ARRIVED),
            connection=ConnectionView(id="acme-github"),
        )

    async def _walk(self, flow: _Flow, names: Sequence[tuple[str, str]], then) -> None:  # type: ignore[no-untyped-def]
        for check_id, _ in names:
            self._check(flow, check_id, state=CheckState.RUNNING)
            await asyncio.sleep(self.pace_s)
            while check_id in self.hold:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            if flow.view.step == "cancelled":
                return
            if self._trouble is not None and self._trouble[0] == check_id:
                why = self._trouble[1]
                why = replace(
                    why, what=self.evil(why.what), why=self.evil(why.why), next=self.evil(why.next)
                )
                self._trouble = None
                self._check(flow, check_id, state=CheckState.FAILED, explanation=why)
                actions = ("retry", "back", "cancel") if why.retry else ("back", "cancel")
                self._become(flow, busy="", problem=why, actions=actions)
                return
            detail = self.evil("140.82.121.6, in Frankfurt") if check_id == "dns" else ""
            self._check(flow, check_id, state=CheckState.PASSED, took_ms=17, detail=detail)
        then(flow)

    def _check(self, flow: _Flow, check_id: str, **changes: object) -> None:
        self._become(
            flow,
            checks=tuple(
                replace(one, **changes) if one.id == check_id else one for one in flow.view.checks
            ),
        )

    def _start(self, walk) -> None:  # type: ignore[no-untyped-def]
        task = asyncio.get_running_loop().create_task(walk)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _become(self, flow: _Flow, **changes: object) -> None:
        self._set(flow, replace(flow.view, revision=flow.view.revision + 1, **changes))

    def _set(self, flow: _Flow, view: View) -> None:
        flow.view = view
        flow.changed.set()
