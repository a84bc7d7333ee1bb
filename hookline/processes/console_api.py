"""The console's API, wired from the settings."""

from __future__ import annotations

from collections.abc import Callable

from console.api import Api, ApiParts
from console.api.kept_answers import KeptAnswers
from credentials.resolver import Resolver
from credentials.writing import SecretWriter
from hookline.processes.access import AuditWriter, now_us
from hookline.processes.gateway_registry import topic_access
from hookline.settings.loading import Settings
from producer.connect.search import search
from producer.connect.service import ConnectService
from producer.connections.clients import TopicAccess
from producer.connections.followed import FollowedConnections
from producer.connections.follower import Follower


class ConsoleApi:
    """The API, and what it follows from `start` to `stop`.

    `book` is a listener for the follower of the connections topic that the console has anyway
    (`producer.connections.followed.Together`); its `reason` is that follower's problem.
    """

    def __init__(
        self,
        settings: Settings,
        resolver: Resolver,
        *,
        service: ConnectService | None = None,
        writer: SecretWriter | None = None,
        public_url: str = "",
        origin_allowed: Callable[[str], bool] = lambda origin: True,
    ) -> None:
        """`service` and `writer`: None where the connect flow is not set up."""
        environment = settings.environment
        self.book = FollowedConnections(
            topic_access(settings, resolver), environment, now_us=now_us
        )
        answers_access = TopicAccess(
            settings.kafka.bootstrap_servers,
            settings.topics.connect_sessions,
            settings.kafka.resolved_properties(resolver),
            "connect-sessions",
        )
        answers = KeptAnswers(
            AuditWriter(answers_access),
            environment,
            reason=lambda: self._follower.problem,
            now_us=now_us,
        )
        self._follower = Follower(answers_access, answers, expires=True)
        self.api = Api(
            ApiParts(
                book=self.book,
                answers=answers,
                service=service,
                search=search,
                writer=writer,
                public_url=public_url or settings.console.public_url,
                origin_allowed=origin_allowed,
                now_us=now_us,
            )
        )

    def live(self) -> tuple[bool, str]:
        """False when only a new process helps, and why."""
        alive = self._follower.alive
        return alive, "" if alive else "the API's kept answers are followed no more"

    def start(self) -> None:
        """Begin to follow."""
        self._follower.start()

    def stop(self, within_s: float) -> None:
        """End."""
        self._follower.stop(within_s)
