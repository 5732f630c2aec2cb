"""Kafka in KRaft mode: one process that is broker and controller."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from compose import artifacts, java
from compose.errors import ServerFailed
from compose.ports import HOST
from compose.servers.base import Launch, NotReady, Site
from compose.state import write_private
from compose.versions import KAFKA

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

TOPICS = (
    "alerts",
    "events.normalized",
    "alerts.enriched",
    "rca.results",
    "remediation.run-requests",
    "remediation.decisions",
    "remediation.requests",
    "remediation.executions",
    "remediation.approvals",
    "remediation.dlq",
)
PARTITIONS = 6

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions={partitions}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.hours=168
log.segment.bytes=67108864
num.network.threads=2
num.io.threads=4
"""

_LOGGING = """\
<Configuration status="WARN" shutdownHook="disable">
  <Appenders><Console name="out"><PatternLayout pattern="%d{ISO8601} %-5p %m (%c{1})%n%ex"/></Console></Appenders>
  <Loggers><Root level="INFO"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""


class Kafka:
    """The message log."""

    name: ClassVar[str] = "kafka"
    usual_ports: ClassVar[Mapping[str, int]] = {"kafka": 9092, "controller": 9093}
    version: ClassVar[str] = KAFKA
    patience: ClassVar[float] = 120

    def prepare(self, site: Site) -> None:
        """Download the jars."""
        java.find()
        artifacts.jars(site.folders.cache, "kafka", site.on_event)

    def launch(self, site: Site) -> Launch:
        """Write the configuration; format the storage the first time."""
        ports, properties = site.ports["kafka"], site.conf("kafka.properties")
        text = _PROPERTIES.format(
            host=HOST,
            port=ports["kafka"],
            controller=ports["controller"],
            data=site.data("kafka"),
            partitions=PARTITIONS,
        )
        write_private(properties, text)
        write_private(site.conf("kafka-log4j2.xml"), _LOGGING)
        arguments = self._java(site)
        write_private(site.conf("kafka.args"), "\n".join(arguments) + "\n")
        if not (site.data("kafka") / "meta.properties").is_file():
            self._format(site, properties)
        # The class path is longer than some systems allow on a command line, hence the file of arguments.
        argv = [str(java.find().program), f"@{site.conf('kafka.args')}", "kafka.Kafka", str(properties)]
        return Launch(argv, config=(properties, site.conf("kafka.args")))

    def _java(self, site: Site) -> list[str]:
        class_path = ":".join(str(jar) for jar in artifacts.jars(site.folders.cache, "kafka"))
        return [
            *("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"),
            "-Djava.net.preferIPv4Stack=true",
            f'-Dlog4j2.configurationFile="{site.conf("kafka-log4j2.xml")}"',
            *("-cp", f'"{class_path}"'),
        ]

    def _format(self, site: Site, properties: Path) -> None:
        argv = [
            *(str(java.find().program), f"@{site.conf('kafka.args')}", "kafka.tools.StorageTool", "format"),
            *("--cluster-id", site.secrets.kafka_cluster_id, "--config", str(properties), "--ignore-formatted"),
        ]
        said = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - built above
        if said.returncode:
            raise ServerFailed(
                "The storage of Kafka could not be formatted.",
                log=(said.stdout + said.stderr).splitlines()[-15:],
                hint=f"Remove {site.data('kafka')} (its messages are lost) and run `rb up` again.",
            )

    def probe(self, site: Site, pid: int) -> None:
        """Its cluster id tells it from another Kafka that took the port."""
        del pid
        admin = self._admin(site)
        found = admin.list_topics(timeout=3).cluster_id
        if found != site.secrets.kafka_cluster_id:
            raise NotReady(f"cluster {found} answers on this port, not {site.secrets.kafka_cluster_id}")

    def _admin(self, site: Site) -> "AdminClient":
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - slow to import, wanted only here

        return AdminClient(
            {
                "bootstrap.servers": f"{HOST}:{site.ports['kafka']['kafka']}",
                "socket.timeout.ms": 5000,
                "log_level": 0,
            }
        )

    def settle(self, site: Site) -> None:
        """Create the topics that are not there yet."""
        # The package re-exports it without saying so, which is what the checker minds.
        from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # noqa: PLC0415 - slow to import

        admin = self._admin(site)
        there = admin.list_topics(timeout=10).topics
        missing = [NewTopic(name, num_partitions=PARTITIONS) for name in TOPICS if name not in there]
        if missing:
            for created in admin.create_topics(missing, operation_timeout=20).values():
                created.result(timeout=30)
