"""A real Apache Kafka 4 broker from Maven Central's jars: KRaft, one process, 3 s to start."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from tests.parts.cache import PartMissing, built
from tests.parts.process import Process, free_port

VERSION = "4.1.1"
_ARTIFACTS = (
    ("org.apache.kafka", "kafka_2.13", VERSION),
    ("org.apache.kafka", "kafka-tools", VERSION),
    ("org.slf4j", "slf4j-simple", "1.7.36"),
    ("org.apache.logging.log4j", "log4j-api", "2.24.3"),
    ("org.apache.logging.log4j", "log4j-core", "2.24.3"),
)


def java_major() -> int | None:
    """The major version of the `java` on the path, or None."""
    java = shutil.which("java")
    if java is None:
        return None
    text = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    match = re.search(r'version "(\d+)', text)
    return int(match[1]) if match else None


def kafka_libs() -> Path:
    """The folder of jars, fetched through Maven once; PartMissing if it cannot be."""
    if (java_major() or 0) < 17:
        raise PartMissing("real Kafka needs Java 17: apt-get install openjdk-17-jre-headless")
    return built(f"kafka-{VERSION}", _fetch) / "lib"


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise PartMissing("real Kafka's jars are fetched by Maven: apt-get install maven")
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version></dependency>"
        for group, artifact, version in _ARTIFACTS
    )
    (folder / "pom.xml").write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>hookline</groupId>"
        "<artifactId>parts</artifactId><version>1</version>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )
    done = subprocess.run(
        [maven, "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={folder}/lib"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise PartMissing(f"Maven could not fetch Kafka's jars:\n{done.stdout[-2000:]}")


class KafkaBroker:
    """One broker that is its own controller. `kill` and `start` keep its data and its port."""

    def __init__(self, properties: dict[str, Any] | None = None) -> None:
        self._libs = kafka_libs()
        self._folder = Path(tempfile.mkdtemp(prefix="hookline-kafka-"))
        self.port = free_port()
        self._process: Process | None = None
        controller = free_port()
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self._folder / "data",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # A member that was killed is missed after this long; the default of 45 s is what
            # docs/operations.md tells people to lower, and far too long for a test.
            "group.consumer.session.timeout.ms": 6000,
            "group.consumer.min.session.timeout.ms": 6000,
            "group.consumer.heartbeat.interval.ms": 1000,
            "group.consumer.min.heartbeat.interval.ms": 1000,
            # After a kill -9 the controller refuses the broker until its old session has ended.
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 3000,
            **(properties or {}),
        }
        self._config = self._folder / "server.properties"
        self._config.write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        identity = self._java("kafka.tools.StorageTool", "random-uuid").strip().splitlines()[-1]
        self._java("kafka.tools.StorageTool", "format", "-t", identity, "-c", str(self._config))

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> KafkaBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it on its data and wait until it answers."""
        self._process = Process(
            [*self._command("-Xmx512m", "-Xms256m"), "kafka.Kafka", str(self._config)],
            self._folder / "kafka.log",
            cwd=self._folder,
        )
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        self._process.wait_until(lambda: _answers(admin), "Kafka")

    def kill(self) -> None:
        """kill -9."""
        if self._process:
            self._process.kill()

    def stop(self) -> None:
        """A clean stop."""
        if self._process:
            self._process.stop()

    def create_topic(self, name: str, partitions: int = 4, **settings: str) -> str:
        """Make a topic and wait until it can be used; its name."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        config = {key.replace("_", "."): value for key, value in settings.items()}
        created = admin.create_topics([NewTopic(name, partitions, 1, config=config)])
        created[name].result(30)
        for _ in range(200):
            topic = admin.list_topics(topic=name, timeout=10).topics[name]
            if topic.error is None and len(topic.partitions) == partitions:
                return name
            time.sleep(0.02)
        raise RuntimeError(f"topic {name} did not become usable")

    def _command(self, *options: str) -> list[str]:
        return ["java", *options, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp",
                f"{self._libs}/*"]  # fmt: skip

    def _java(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command("-Xmx128m"), *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout


def _answers(admin: AdminClient) -> bool:
    try:
        return bool(admin.list_topics(timeout=1.0).brokers)
    except KafkaException:
        return False
