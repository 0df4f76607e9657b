"""A real Kafka 4.1 broker (KRaft, one node) fetched from Maven Central."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.parts.environment import cache_dir, exclusive, free_port, missing, program
from tests.parts.process import Server

_FILES = Path(__file__).parent / "broker"
_WHY = "the real-broker tests need Java 17+ and Maven"


def fetch_jars() -> Path:
    """Folder with the broker's jars, fetched on first use; skips or fails (CI) without Java or Maven."""
    program("java", why=_WHY)
    pom = _FILES / "pom.xml"
    folder = cache_dir() / f"kafka-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    with exclusive("kafka"):
        if not folder.exists():
            maven = program("mvn", why=_WHY)
            half = folder.with_suffix(f".{os.getpid()}")  # renamed when complete, so a broken fetch is never used
            fetched = subprocess.run(
                [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={half}"],
                capture_output=True,
                text=True,
                timeout=280,
                check=False,
            )
            if fetched.returncode != 0:
                shutil.rmtree(half, ignore_errors=True)
                missing(f"Kafka could not be fetched with Maven: {fetched.stdout[-800:]}{fetched.stderr[-800:]}")
            half.rename(folder)
    return folder


class Kafka(Server):
    """One broker on free ports with its own data folder; `bootstrap` stays the same over kill and start.

    Records of up to 16 MB are accepted. Topics are never created automatically: `topic()` makes one
    with a name no other test has.

    `users`: passwords by name. Then there is a second address, `secured`, at which they log in (SASL PLAIN) and may do
    what access lists say and nothing else; whoever comes by `bootstrap` may do everything.
    """

    def __init__(self, folder: Path, users: Mapping[str, str] | None = None) -> None:
        self._jars = fetch_jars()
        self._port, controller = free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self._port}"
        self._numbers = itertools.count(1)
        self._run = uuid.uuid4().hex[:6]
        folder.mkdir(parents=True, exist_ok=True)
        self._properties = folder / "server.properties"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": str(folder / "data"),
            "auto.create.topics.enable": "false",
            "message.max.bytes": str(16 * 2**20),
            "replica.fetch.max.bytes": str(16 * 2**20),
            "group.initial.rebalance.delay.ms": "0",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "log.cleaner.backoff.ms": "1000",
        }
        if users:
            self.secured = f"127.0.0.1:{free_port()}"
            for listeners in ("listeners", "advertised.listeners"):
                settings[listeners] += f",SASL_PLAINTEXT://{self.secured}"
            known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
            module = "org.apache.kafka.common.security.plain.PlainLoginModule"
            settings |= {
                "listener.security.protocol.map": settings["listener.security.protocol.map"]
                + ",SASL_PLAINTEXT:SASL_PLAINTEXT",
                "sasl.enabled.mechanisms": "PLAIN",
                "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{module} required {known};",
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
            }
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self._java = [
            program("java", why=_WHY),
            "-Xmx768m",
            "-Xms256m",
            "-XX:+UseSerialGC",
            f"-Dlog4j2.configurationFile={(_FILES / 'log4j2.properties').as_uri()}",
            "-cp",
            f"{self._jars}/*",
        ]
        super().__init__(
            "kafka", [*self._java, "kafka.Kafka", str(self._properties)], folder, self._answers, timeout=90
        )

    def start(self) -> None:
        """Format the data folder on the first start, then start and wait for the first answer."""
        if not (self.folder / "data" / "meta.properties").exists():
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
            tool = ["kafka.tools.StorageTool", "format", "-t", "c" + cluster[1:], "-c", str(self._properties)]
            subprocess.run([*self._java, *tool], check=True, capture_output=True, timeout=60)
        super().start()

    def admin(self, **settings: str | int) -> AdminClient:
        """A client for topics, groups and configuration."""
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2, **settings})

    def unique(self, prefix: str = "t") -> str:
        """A name for a topic or group that no other test of this broker has."""
        return f"{prefix}-{self._run}-{next(self._numbers)}"

    def topic(
        self,
        prefix: str = "t",
        *,
        partitions: int = 4,
        config: Mapping[str, str] | None = None,
        exact: bool = False,
    ) -> str:
        """Create a topic named after `prefix` (or exactly `prefix`); returns its name.

        Raises KafkaException when it exists already. Returns when every partition has a leader.
        """
        name = prefix if exact else self.unique(prefix)
        admin = self.admin()
        admin.create_topics([NewTopic(name, partitions, 1, config=dict(config or {}))])[name].result(30)
        while True:
            known = admin.list_topics(topic=name, timeout=10).topics[name]
            if len(known.partitions) == partitions and all(p.leader >= 0 for p in known.partitions.values()):
                return name

    def delete_topics(self, *names: str) -> None:
        """Delete topics; returns when the broker has accepted it."""
        admin = self.admin()  # it must live until its futures are done
        for future in admin.delete_topics(list(names)).values():
            future.result(30)

    def _answers(self) -> bool:
        try:
            return bool(self.admin().list_topics(timeout=2).brokers)
        except KafkaException:
            return False
