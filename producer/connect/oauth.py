"""OAuth 2.0 at a customer's system: PKCE (RFC 7636, S256), code, refresh, client credentials.

Our client's id and secret come from the settings; what is granted goes to the secret backend.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b, sha256
from typing import Final
from urllib.parse import urlencode

import msgspec

from credentials.secret import Secret
from producer.connect.calls import Prepared, Requests, Unanswered, basic, place, send
from producer.connect.flow import failures, words
from producer.connect.system import OAuthClient, OAuthCode, System
from producer.connect.templates import fill
from producer.outgoing.answers import OutgoingAnswer, OutgoingFailure

_MAX_TOKEN_CHARS: Final = 16_000
#: They are kept with the session, so a hostile system's are bounded.
_MAX_SCOPES_CHARS: Final = 8_000


class OAuthApp(msgspec.Struct, frozen=True, kw_only=True):
    """Our client at one system; the references of its secrets, empty where it has none."""

    client_id: str
    client_secret: str = ""
    #: What the system signs webhooks with, where that is the app's own.
    app_secret: str = ""


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What was granted. `expires_in_s` is None where the system does not say."""

    access: Secret
    refresh: Secret | None = None
    scopes: tuple[str, ...] = ()
    expires_in_s: int | None = None


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """Where the customer is sent, and what proves that it is he who comes back."""

    url: str
    state_digest: str
    verifier: Secret


def state_digest(state: str) -> str:
    """What is kept of an OAuth state."""
    return blake2b(state.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def consent(system: System, app: OAuthApp, values: Mapping[str, str], redirect_uri: str) -> Consent:
    """The address of a new request for consent; OutgoingFailure if a value does not fit in it."""
    how = system.authorisation
    assert isinstance(how, OAuthCode)
    state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
    query = {
        "response_type": "code",
        "client_id": app.client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        **how.extra,
    }
    if how.scopes:
        query["scope"] = how.scope_separator.join(how.scopes)
    if how.pkce:
        digest = sha256(verifier.encode()).digest()
        query["code_challenge"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        query["code_challenge_method"] = "S256"
    url = place(how.authorise_url, values)
    return Consent(
        url=url + ("&" if "?" in url else "?") + urlencode(query),
        state_digest=state_digest(state),
        verifier=Secret(verifier),
    )


class TokenClient:
    """Asks token endpoints."""

    def __init__(
        self,
        requests: Requests,
        apps: Mapping[str, OAuthApp],
        resolve: Callable[[str], Awaitable[Secret]],
    ) -> None:
        """`resolve` reads the secret of our client, whose reference it is given."""
        self._requests = requests
        self._apps = apps
        self._resolve = resolve

    def app(self, system: System) -> OAuthApp | None:
        """Our client at a system, if it is set up."""
        return self._apps.get(system.id)

    async def exchange(
        self,
        system: System,
        values: Mapping[str, str],
        code: Secret,
        verifier: Secret | None,
        redirect_uri: str,
    ) -> Tokens:
        """The tokens for a code; Unanswered."""
        fields = {
            "grant_type": "authorization_code",
            "code": code.reveal(),
            "redirect_uri": redirect_uri,
        }
        if verifier is not None:
            fields["code_verifier"] = verifier.reveal()
        return await self._ask(system, values, fields)

    async def refresh(self, system: System, values: Mapping[str, str], token: Secret) -> Tokens:
        """New tokens for a refresh token; Unanswered. Where no new refresh token is given, the old
        one goes on."""
        fields = {"grant_type": "refresh_token", "refresh_token": token.reveal()}
        return await self._ask(system, values, fields)

    async def client_credentials(self, system: System, values: Mapping[str, str]) -> Tokens:
        """A token for the customer's own client; Unanswered. `values` hold its secret."""
        how = system.authorisation
        assert isinstance(how, OAuthClient)
        fields = {"grant_type": "client_credentials"}
        if how.scopes:
            fields["scope"] = " ".join(how.scopes)
        client = fill(how.client_id, values), fill(how.client_secret, values)
        return await self._send(system, values, how.token_url, fields, client, how.client_auth)

    async def revoke(self, system: System, values: Mapping[str, str], token: Secret) -> bool:
        """Whether the system knows now that the token is not used any more (RFC 7009)."""
        how = system.authorisation
        if not isinstance(how, OAuthCode) or how.revoke_url is None:
            return False
        app = self.app(system)
        if app is None:
            return False
        client = app.client_id, await self._client_secret(app)
        fields = {"token": token.reveal()}
        try:
            url = place(how.revoke_url, values)
            prepared = _request(url, fields, client, how.client_auth, "form")
            return (await send(self._requests, prepared)).status < 300
        except OutgoingFailure:
            return False

    async def _ask(
        self, system: System, values: Mapping[str, str], fields: dict[str, str]
    ) -> Tokens:
        how = system.authorisation
        assert isinstance(how, OAuthCode)
        app = self.app(system)
        if app is None:
            raise Unanswered(words.not_set_up(system.name))
        client = app.client_id, await self._client_secret(app)
        return await self._send(
            system, values, how.token_url, {**fields, **how.token_extra}, client, how.client_auth,
            how.token_body,
        )  # fmt: skip

    async def _client_secret(self, app: OAuthApp) -> str:
        if not app.client_secret:
            return ""
        return (await self._resolve(app.client_secret)).reveal()

    async def _send(
        self,
        system: System,
        values: Mapping[str, str],
        url: str,
        fields: dict[str, str],
        client: tuple[str, str],
        client_auth: str,
        body: str = "form",
    ) -> Tokens:
        try:
            prepared = _request(place(url, values), fields, client, client_auth, body)
            answer = await send(self._requests, prepared)
        except OutgoingFailure as failure:
            raise Unanswered(failures.failure(failure.kind, failure.host, system)) from None
        return _tokens(system, answer, fields["grant_type"])


def _request(
    url: str, fields: dict[str, str], client: tuple[str, str], client_auth: str, body: str
) -> Prepared:
    headers = {"Accept": "application/json", "User-Agent": "Hookline"}
    if client_auth == "basic":
        headers["Authorization"] = basic(*client)
    else:
        fields = {**fields, "client_id": client[0]}
        if client[1]:
            fields["client_secret"] = client[1]
    if body == "json":
        headers["Content-Type"] = "application/json"
        content = json.dumps(fields).encode()
    else:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        content = urlencode(fields).encode()
    return Prepared(method="POST", url=url, headers=headers, content=content)


def _tokens(system: System, answer: OutgoingAnswer, grant: str) -> Tokens:
    """RFC 6749, 5.1 and 5.2; GitHub and Slack answer errors with 200."""
    try:
        found = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        found = None
    given = found if isinstance(found, dict) else {}
    access = given.get("access_token")
    if answer.status == 200 and isinstance(access, str) and 0 < len(access) <= _MAX_TOKEN_CHARS:
        refresh, scope = given.get("refresh_token"), given.get("scope")
        expires = given.get("expires_in")
        return Tokens(
            access=Secret(access),
            refresh=Secret(refresh)
            if isinstance(refresh, str) and 0 < len(refresh) <= _MAX_TOKEN_CHARS
            else None,
            scopes=tuple(scope[:_MAX_SCOPES_CHARS].replace(",", " ").split())
            if isinstance(scope, str)
            else (),
            expires_in_s=expires if isinstance(expires, int) and 0 < expires < 10**9 else None,
        )
    error = given.get("error")
    spent = error in ("invalid_grant", "bad_verification_code", "invalid_code")
    if grant == "authorization_code" and (spent or answer.status in (400, 401)):
        ours = error in ("invalid_client", "unauthorized_client", "redirect_uri_mismatch")
        explained = words.not_set_up(system.name) if ours else words.code_refused(system.name)
        raise Unanswered(explained, answer)
    if answer.status < 300:
        raise Unanswered(failures.not_its_answer(system), answer)
    status = 401 if answer.status == 400 else answer.status
    raise Unanswered(failures.answer(system, (), status, answer.headers, answer.body), answer)
