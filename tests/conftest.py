"""Fixtures that every suite shares: the real servers, started once or taken as they run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No example fails because the machine was busy. A release is tried with the same examples each time, so that only a
# change of the code changes the result; a developer's runs go on looking for new ones.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("search"), derandomize=True)
settings.load_profile(os.environ.get("TEST_EXAMPLES", "search"))

sys.path.insert(0, str(Path(__file__).parent))


@dataclass(frozen=True)
class Servers:
    """Addresses of the real servers that the tests use."""

    kafka_bootstrap: str
    neo4j_uri: str
    neo4j_user: str
    neo4j_password: str
    redis_url: str
    kubeconfig: str
    context: str
    admin_kubeconfig: str
    settings_file: Path


@pytest.fixture(scope="session")
def stack() -> Iterator[Servers]:
    """The real stack of this checkout. One that runs already is taken and left; one that is started here is stopped.

    Docker containers where an engine answers, plain processes elsewhere: the same fixtures, the same tests.
    """
    from compose import stack as local  # noqa: PLC0415 - unit tests must not pay for it

    ran = all(server.state == "up" for server in local.status())
    found = local.up()
    if not (found.kafka and found.neo4j and found.redis and found.kubernetes):
        raise RuntimeError("the stack came up without all of its servers: rb doctor")
    yield Servers(
        kafka_bootstrap=found.kafka.bootstrap_servers,
        neo4j_uri=found.neo4j.uri,
        neo4j_user=found.neo4j.user,
        neo4j_password=found.neo4j.password,
        redis_url=found.redis.url,
        kubeconfig=str(found.kubernetes.kubeconfig),
        context=found.kubernetes.context,
        admin_kubeconfig=str(found.admin_kubeconfig),
        settings_file=found.settings_file,
    )
    if not ran:
        local.down()


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A real browser: that of the machine, else a pinned one that is fetched without rights.

    Where neither works the tests are skipped with the reason, but not where REQUIRE_BROWSER is set, as in CI.
    """
    from compose.chromium import ensure  # noqa: PLC0415 - as above
    from compose.errors import StackError  # noqa: PLC0415 - as above

    try:
        return ensure()
    except StackError as error:
        if os.environ.get("REQUIRE_BROWSER"):
            raise
        pytest.skip(f"no browser: {error}")


@pytest.fixture(scope="session")
def redis_container() -> Iterator[str]:
    """Address of a Redis of the test run's own, as a container: the image that docker-compose.yml pins."""
    import yaml  # noqa: PLC0415 - only where Docker answers
    from testcontainers.community.redis import RedisContainer  # noqa: PLC0415 - as above

    pinned = yaml.safe_load((Path(__file__).parents[1] / "compose" / "docker-compose.yml").read_text())
    with RedisContainer(pinned["services"]["redis"]["image"]) as server:
        yield f"redis://{server.get_container_host_ip()}:{server.get_exposed_port(6379)}/0"


def pytest_addoption(parser: pytest.Parser) -> None:
    """How the record of the language on real servers is kept: see ``fakes/coverage.py``."""
    parser.addoption("--write-coverage", action="store_true", help="bring tests/coverage.json up to date")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Which tests passed; one that failed proves nothing, with any of its parameters."""
    from fakes.coverage import RUN  # noqa: PLC0415 - only once a test ran

    test = report.nodeid.partition("[")[0]
    if report.when == "call" and report.passed and test not in RUN.failed:
        RUN.passed.add(test)
    elif report.failed:
        RUN.failed.add(test)
        RUN.passed.discard(test)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tests on real servers use what the record says of them."""
    from fakes import coverage  # noqa: PLC0415 - as above

    if session.config.getoption("--write-coverage"):
        coverage.write(coverage.RUN.merged(coverage.read()))
    elif broken := coverage.RUN.broken(coverage.read()):
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line("")
            for line in (*broken, "pytest --write-coverage and make docs bring the record up to date"):
                reporter.write_line(f"coverage of the language: {line}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
