"""The console's changes in the audit log; the writing is off the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from console.access.guard import visitor_of
from credentials.audit_log import Actor, Change
from schemas.errors import AuditUnavailable


@asynccontextmanager
async def audited(
    request: Request,
    action: str,
    *,
    target: str = "",
    connection: str = "",
    details: Mapping[str, object] | None = None,
    urgent: bool = False,
    via: str = "console",
) -> AsyncIterator[Change]:
    """A change by the visitor: its intent is in the audit log before, how it ended after.

    AuditUnavailable (so the change is not made) if the intent cannot be written, unless `urgent`:
    that is for what takes something away, such as a revocation.
    """
    audit = request.state.gate.audit
    if audit is None:
        raise AuditUnavailable("this console has no audit log, so it changes nothing")
    visitor = visitor_of(request)
    actor = Actor(
        who=visitor.admission.token_id,
        who_name=visitor.admission.name,
        via=via,
        from_where=visitor.from_where,
    )
    change = await run_in_threadpool(
        audit.begin,
        actor,
        action,
        target=target,
        connection=connection,
        request_id=getattr(request.state, "page_id", b""),
        details=details,
        urgent=urgent,
    )
    failure: BaseException | None = None
    try:
        yield change
    except BaseException as error:
        failure = error
        raise
    finally:
        # Also when the browser has gone: what was begun is told to the end.
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(audit.end, change, failure)
