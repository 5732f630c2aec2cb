"""Write the lock lists anew, for maintainers: `python -m compose.relock [neo4j|kafka|wheels ...]`.

Needs Maven on the PATH. Users never run this: they download what the lists name.
"""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from compose import locks
from compose.artifacts import wheel_url
from compose.download import web_client
from compose.versions import MAVEN_ROOTS, WHEELS

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>dev.rootmend</groupId><artifactId>lock</artifactId><version>1</version>
<dependencies>{dependencies}</dependencies></project>
"""
_WANTED_WHEEL = re.compile(r"(manylinux|macosx)_\w+_(x86_64|aarch64|arm64)\.whl$")
_DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"


def resolve_jars(roots: tuple[str, ...]) -> list[dict[str, Any]]:
    """Let Maven resolve the runtime closure of some artifacts, and describe every file of it."""
    with tempfile.TemporaryDirectory() as folder:
        pom = _POM.format(dependencies="".join(_DEPENDENCY.format(*root.split(":")) for root in roots))
        (Path(folder) / "pom.xml").write_text(pom)
        subprocess.run(  # noqa: S603 - a fixed command
            [
                *("mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"),
                *("-Dmdep.useRepositoryLayout=true", "-DoutputDirectory=jars"),
            ],
            cwd=folder,
            check=True,
        )
        jars = Path(folder) / "jars"
        return [_describe(jar, jars) for jar in sorted(jars.rglob("*.jar"))]


def _describe(jar: Path, root: Path) -> dict[str, Any]:
    content = jar.read_bytes()
    return {
        "path": jar.relative_to(root).as_posix(),
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def resolve_wheel(project: str, version: str) -> list[dict[str, Any]]:
    """Describe the wheels of one release for the systems that the stack runs on."""
    with web_client(120) as client:
        page = client.get(f"{locks.pypi_url()}/{project}/", headers={"Accept": "text/html"}).raise_for_status().text
        names = sorted(
            set(re.findall(rf">({re.escape(project.replace('-', '_'))}-{re.escape(version)}-[^<]+whl)<", page))
        )
        return [_describe_wheel(client, project, name) for name in names if _WANTED_WHEEL.search(name)]


def _describe_wheel(client: httpx.Client, project: str, name: str) -> dict[str, Any]:
    content = client.get(wheel_url(client, project, name)).raise_for_status().content
    return {"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def main(names: list[str]) -> None:
    """Write the wanted lists, or all."""
    for name, roots in MAVEN_ROOTS.items():
        if not names or name in names:
            _write(name, {"roots": roots, "files": resolve_jars(roots)})
    if not names or "wheels" in names:
        wheels = {
            name: {"project": project, "version": version, "files": resolve_wheel(project, version)}
            for name, (project, version) in WHEELS.items()
        }
        _write("wheels", wheels)


def _write(name: str, content: dict[str, Any]) -> None:
    path = Path(str(locks.FOLDER / f"{name}.json"))
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
