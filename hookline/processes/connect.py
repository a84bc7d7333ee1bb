"""The connect flow of a process, wired from the settings."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from console.connect import ConnectHttp
from credentials.resolver import Resolver
from credentials.secret import Secret
from credentials.writing import SecretWriter
from hookline.processes.access import now_us
from hookline.settings.loading import Settings
from hookline.settings.secret_writing import secret_writer
from producer.connect.arrivals import Arrivals
from producer.connect.connection_records import ConnectionRecords
from producer.connect.effects import Effects
from producer.connect.search import search
from producer.connect.service import ConnectService
from producer.connect.session_store import SessionStore
from producer.connect.system_calls import Place, SystemCalls
from producer.connect.systems import Catalogue
from producer.connections.clients import TopicAccess
from producer.outgoing.client import OutgoingClient
from producer.outgoing.policy import OutgoingPolicy
from schemas.errors import ConfigurationError


def connect_service(
    settings: Settings, resolver: Resolver, writer: SecretWriter | None
) -> ConnectService | None:
    """The service, not started; None where `connect.gateway_url` is not set.

    `writer` is that of `connect_writer`.
    """
    connect = settings.connect
    if not connect.gateway_url:
        return None
    if writer is None:
        raise ConfigurationError(f"connect: {connect.missing()}")
    properties = settings.kafka.resolved_properties(resolver)

    def access(topic: str, about: str) -> TopicAccess:
        return TopicAccess(settings.kafka.bootstrap_servers, topic, properties, about)

    records = ConnectionRecords(
        access(settings.topics.connections, "connections"), settings.environment
    )
    calls = SystemCalls(
        requests=OutgoingClient(connect.outgoing.policy()),
        writer=writer,
        resolve=resolver.resolve,
        apps={name: app.app() for name, app in connect.oauth.items()},
        place=place(settings),
    )
    effects = Effects(
        gateway=OutgoingClient(_own_gateway(settings)),
        calls=calls,
        records=records,
        arrivals=Arrivals(
            settings.kafka.bootstrap_servers,
            settings.topics.events,
            properties,
            receptions=settings.topics.executions,
        ),
        now_us=now_us,
    )
    return ConnectService(
        environment=settings.environment,
        catalogue=Catalogue.load(connect.folder),
        store=session_store(settings, resolver),
        records=records,
        effects=effects,
        now_us=now_us,
        session_minutes=connect.session_minutes,
    )


def session_store(settings: Settings, resolver: Resolver) -> SessionStore:
    """The sessions' topic, not followed yet."""
    access = TopicAccess(
        settings.kafka.bootstrap_servers,
        settings.topics.connect_sessions,
        settings.kafka.resolved_properties(resolver),
        "connect-sessions",
    )
    return SessionStore(access, settings.environment, now_us)


def public_url(settings: Settings) -> str:
    """Where customers' browsers reach the console, without a slash at its end."""
    return (settings.connect.public_url or settings.console.public_url).rstrip("/")


def place(settings: Settings) -> Place:
    """Where our own ends are."""
    connect = settings.connect
    return Place(
        gateway_url=connect.gateway_url,
        gateway_check_url=connect.gateway_check_url or connect.gateway_url,
        redirect_uri=f"{public_url(settings)}/connect/callback",
        gateway_wait_s=connect.gateway_wait_ms / 1000,
    )


def connect_writer(
    settings: Settings, resolver: Resolver, on_secret: Callable[[Secret], None]
) -> SecretWriter | None:
    """Where customers' secrets are written; None where that is not set up.

    `on_secret` sees each secret that a customer enters before it is used, so that no log has it.
    """
    wanted = settings.connect.secrets
    if wanted is None:
        return None
    return secret_writer(
        settings.credentials,
        wanted.backend,
        wanted.prefix,
        resolver=resolver,
        on_secret=on_secret,
    )


def connect_http(settings: Settings, service: ConnectService) -> ConnectHttp:
    """The service, as customers' browsers reach it."""
    return ConnectHttp(
        service,
        search,
        allowed_origins=settings.connect.allowed_origins,
        public_url=public_url(settings),
        proxies=tuple(settings.console.proxies),
    )


def _own_gateway(settings: Settings) -> OutgoingPolicy:
    """It may be anywhere, also beside this process; and nothing else is asked by this client."""
    host = urlsplit(place(settings).gateway_check_url).hostname or ""
    return OutgoingPolicy(
        allow_hosts=(host,),
        allow_networks=("127.0.0.0/8", "::1/128"),
        https_only=False,
        max_redirects=0,
        ca_file=settings.connect.outgoing.ca_file,
    )
