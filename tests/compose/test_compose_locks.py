"""The lock lists pin what is downloaded."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from compose import locks, versions

COMPOSE = Path(str(files("compose")))


@pytest.mark.parametrize("name", ["neo4j", "kafka"])
def test_every_jar_has_a_hash_and_a_size(name):
    """A jar without a sha256 or a size could be replaced without anybody seeing it."""
    jars = locks.jars(name)
    assert jars
    for jar in jars:
        assert re.fullmatch(r"[0-9a-f]{64}", jar.sha256), jar.path
        assert jar.size > 0, jar.path
        assert re.fullmatch(r"(?!.*\.\.)[^/].*\.jar", jar.path)


@pytest.mark.parametrize("name", ["neo4j", "kafka"])
def test_no_jar_is_listed_in_two_versions(name):
    """Two versions of one artifact on a class path load whichever comes first."""
    # One version may come in several files: Netty's native parts, one for each system.
    pairs = {tuple(jar.path.rsplit("/", 2)[:2]) for jar in locks.jars(name)}
    assert len({artifact for artifact, _ in pairs}) == len(pairs)


def test_the_lists_are_resolved_from_the_pinned_versions():
    """A version that is raised without writing the list anew would download the old one."""
    for name, roots in versions.MAVEN_ROOTS.items():
        paths = {jar.path for jar in locks.jars(name)}
        for root in roots:
            group, artifact, version = root.split(":")
            assert f"{group.replace('.', '/')}/{artifact}/{version}/{artifact}-{version}.jar" in paths


def test_the_wheels_are_of_the_pinned_versions():
    """A wheel of another version than the pinned one is refused."""
    for name, (project, version) in versions.WHEELS.items():
        entry = locks._read("wheels")[name]
        assert (entry["project"], entry["version"]) == (project, version)
        assert entry["files"]
        assert all(f"-{version}-" in file["path"] for file in entry["files"])


@pytest.mark.parametrize(
    ("name", "system", "machine", "fits"),
    [
        ("x-1-py3-none-manylinux_2_28_x86_64.whl", "Linux", "x86_64", True),
        ("x-1-py3-none-manylinux_2_28_aarch64.whl", "Linux", "aarch64", True),
        ("x-1-py3-none-manylinux_2_28_aarch64.whl", "Linux", "x86_64", False),
        ("x-1-py3-none-macosx_11_0_arm64.whl", "Darwin", "arm64", True),
        ("x-1-py3-none-macosx_11_0_arm64.whl", "Linux", "aarch64", False),
        ("x-1-py3-none-manylinux_2_28_x86_64.whl", "FreeBSD", "x86_64", False),
    ],
)
def test_a_wheel_is_taken_for_its_own_machine_only(name, system, machine, fits):
    """A wheel for another system or processor is never taken."""
    assert locks._fits(name, system, machine) is fits


def test_the_go_modules_pin_the_same_versions():
    """What `rb status` prints is what go.mod builds."""
    pins = {"etcd": f"server/v3 v{versions.ETCD}", "kubernetes": f"k8s.io/kubernetes v{versions.KUBERNETES}"}
    pins["kwok"] = f"sigs.k8s.io/kwok v{versions.KWOK}"
    for module, pin in pins.items():
        folder = COMPOSE / "gobuild" / module
        assert pin in (folder / "go.mod").read_text()
        assert (folder / "go.sum").stat().st_size > 0


def test_the_containers_are_of_the_same_versions():
    """Docker and plain processes give the same stack."""
    services = yaml.safe_load((COMPOSE / "docker-compose.yml").read_text())["services"]
    tags = {name: service["image"].rpartition(":")[2] for name, service in services.items()}
    assert tags["neo4j"] == f"{versions.NEO4J}-community"
    assert tags["kafka"] == versions.KAFKA
    assert versions.VALKEY_WHEEL.startswith(tags["redis"])
    assert tags["etcd"] == f"v{versions.ETCD}"
    assert tags["kwok"] == f"v{versions.KWOK}"
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        assert tags[name] == f"v{versions.KUBERNETES}"


def test_a_mirror_replaces_the_registry(monkeypatch):
    """Behind a company's mirror one variable is enough."""
    monkeypatch.setenv("ROOTMEND_MAVEN_URL", "https://mirror.example/maven/")
    monkeypatch.setenv("ROOTMEND_PYPI_URL", "https://mirror.example/simple/")
    assert locks.maven_url() == "https://mirror.example/maven"
    assert locks.pypi_url() == "https://mirror.example/simple"
