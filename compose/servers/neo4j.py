"""Neo4j with Bolt, HTTP and Browser, hosted in a Python process of its own (see `compose.neo4j_host`)."""

import sys
from collections.abc import Mapping
from typing import ClassVar

from compose import artifacts, java
from compose.ports import HOST, is_free
from compose.servers.base import Launch, NotReady, Site
from compose.state import write_private
from compose.versions import NEO4J

USER = "neo4j"
BROWSER_PATH = "/browser/"

_CONF = """\
server.default_listen_address={host}
server.default_advertised_address={host}
server.bolt.enabled=true
server.bolt.listen_address={host}:{bolt}
server.bolt.advertised_address={host}:{bolt}
server.bolt.tls_level=DISABLED
server.http.enabled=true
server.http.listen_address={host}:{http}
server.http.advertised_address={host}:{http}
server.https.enabled=false
server.directories.logs={logs}
server.memory.pagecache.size=128m
dbms.memory.transaction.total.max=256m
dbms.security.auth_enabled=true
dbms.usage_report.enabled=false
client.allow_telemetry=false
db.logs.query.enabled=OFF
# Nobody waits for a practice graph to finish its long reads.
db.shutdown_transaction_end_timeout=1s
internal.server.bolt.thread_pool_shutdown_wait_time=1s
internal.server.bolt.connection_shutdown_wait_time=1s
"""


class Neo4j:
    """The graph."""

    name: ClassVar[str] = "neo4j"
    usual_ports: ClassVar[Mapping[str, int]] = {"bolt": 7687, "http": 7474}
    version: ClassVar[str] = NEO4J
    patience: ClassVar[float] = 180

    def prepare(self, site: Site) -> None:
        """Download the jars."""
        java.find()
        artifacts.jars(site.folders.cache, "neo4j", site.on_event)

    def launch(self, site: Site) -> Launch:
        """Write configuration, class path and password to files: a command line is visible to everybody."""
        ports, runtime = site.ports["neo4j"], java.find()
        logs = site.folders.logs / "neo4j"
        logs.mkdir(parents=True, exist_ok=True)
        conf = site.conf("neo4j.conf")
        write_private(conf, _CONF.format(host=HOST, bolt=ports["bolt"], http=ports["http"], logs=logs))
        jars = artifacts.jars(site.folders.cache, "neo4j")
        write_private(site.conf("neo4j.classpath"), "\n".join(map(str, jars)) + "\n")
        write_private(site.conf("neo4j.password"), site.secrets.neo4j_password)
        argv = [
            *(sys.executable, "-m", "compose.neo4j_host"),
            *("--home", str(site.data("neo4j")), "--conf", str(conf)),
            *("--classpath", str(site.conf("neo4j.classpath")), "--jvm", str(runtime.library)),
            *("--password-file", str(site.conf("neo4j.password")), "--heap", "512m"),
        ]
        return Launch(argv, config=(conf, site.conf("neo4j.classpath")))

    def probe(self, site: Site, pid: int) -> None:
        """A query with our password is answered, and Browser is served."""
        del pid
        import httpx  # noqa: PLC0415 - slow to import, wanted only here
        import neo4j  # noqa: PLC0415 - slow to import, wanted only here

        ports = site.ports["neo4j"]
        auth = (USER, site.secrets.neo4j_password)
        if is_free(ports["bolt"]):
            raise NotReady("nothing listens on the Bolt port yet")
        uri = f"bolt://{HOST}:{ports['bolt']}"
        with (
            neo4j.GraphDatabase.driver(uri, auth=auth, connection_timeout=3) as driver,
            driver.session(database="neo4j") as session,
        ):
            # Not through execute_query: that would retry and warn while the server is still starting.
            session.run("RETURN 1").consume()
        answer = httpx.get(f"http://{HOST}:{ports['http']}{BROWSER_PATH}", timeout=5, trust_env=False)
        if answer.status_code != httpx.codes.OK:
            raise NotReady(f"Browser answers {answer.status_code}")

    def settle(self, site: Site) -> None:
        """Nothing to bring: the product migrates its own graph."""
