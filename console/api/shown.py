"""From what we know to what the API shows of it: no value of a secret, no reference."""

from __future__ import annotations

from datetime import UTC, datetime

from console.api import models
from producer.connect import system as catalogue
from producer.connect.flow.state import Check, CheckState, Explanation
from producer.connect.view import View
from producer.connections.ledger import Ledger, Standing
from schemas.connection import SecretReference


def connection(ledger: Ledger, connection_id: str, now_s: float) -> models.Connection:
    """One connection, of which there is a record or a revocation."""
    record, access = ledger.record(connection_id), ledger.access(connection_id)
    standing = ledger.standing(connection_id) or Standing.REVOKED
    out = ledger.revoked_secrets(connection_id)
    found = record.connection if record is not None else None
    return models.Connection(
        id=connection_id,
        tenant=found.tenant if found else None,
        provider=found.provider if found else None,
        state=standing.value,
        system=access.system if access else None,
        label=(access.label or None) if access else None,
        account=(access.account or None) if access else None,
        attention=(access.attention or None) if access else None,
        secrets=[_secret(one, out, now_s) for one in found.secrets] if found else [],
        changed_at=moment(record.changed_at_us / 1e6) if record else None,
        changed_by=(record.changed_by or None) if record else None,
    )


def _secret(one: SecretReference, revoked: frozenset[str], now_s: float) -> models.Secret:
    begins, ends = one.not_before_s, one.not_after_s
    if one.name in revoked:
        state = "revoked"
    elif one.ended(now_s):
        state = "expired"
    else:
        state = "active" if one.active(now_s) else "not yet"
    return models.Secret.model_validate(
        {
            "name": one.name,
            "state": state,
            "not_before": moment(begins) if begins is not None else None,
            "not_after": moment(ends) if ends is not None else None,
        }
    )


def moment(unix_s: float) -> datetime:
    """In UTC."""
    return datetime.fromtimestamp(unix_s, UTC)


def session(session_id: str, view: View) -> models.ConnectSession:
    """How far a customer has come."""
    return models.ConnectSession.model_validate(
        {
            "session": session_id,
            "tenant": view.tenant,
            "label": view.label,
            "step": view.step,
            "system": view.system.id if view.system else None,
            "account": view.account or None,
            "connection": view.connection.id if view.connection else None,
            "problem": _problem(view.problem),
            "expires_at": view.expires_at,
        }
    )


def _problem(explanation: Explanation | None) -> models.FlowProblem | None:
    if explanation is None:
        return None
    return models.FlowProblem(
        code=explanation.code,
        what=explanation.what,
        why=explanation.why,
        next=explanation.next,
    )


def tested(checks: tuple[Check, ...]) -> models.Tested:
    """What a test has found; passed if nothing failed and something passed."""
    return models.Tested(
        passed=any(one.state is CheckState.PASSED for one in checks)
        and not any(one.state is CheckState.FAILED for one in checks),
        checks=[
            models.Check(
                id=one.id,
                title=one.title,
                state=one.state.value,
                detail=one.detail,
                took_ms=one.took_ms,
                problem=_problem(one.explanation),
            )
            for one in checks
        ],
    )


def system(one: catalogue.System) -> models.System:
    """As in a list."""
    return models.System(
        id=one.id,
        name=one.name,
        about=one.about,
        categories=one.categories,
        initials=one.logo.initials,
        colour=one.logo.colour,
        minutes=one.minutes,
    )


def system_in_full(one: catalogue.System) -> models.SystemInFull:
    """With what it takes to connect it."""
    return models.SystemInFull(
        **system(one).model_dump(),
        aliases=one.aliases,
        authorisation=one.authorisation.kind,
        provider=one.webhook.provider,
        registration=one.webhook.registration.how,
        events=one.webhook.registration.events,
        polling=one.polling is not None,
        fields=[
            models.SystemField(
                id=field.id, label=field.label, required=field.required, secret=field.secret
            )
            for field in one.all_fields()
        ],
        sources=[*one.sources],
    )
