"""Host Neo4j in this process: `python -m compose.neo4j_host --home DIR --conf FILE ...`.

Neo4j's own launcher is in no package registry. Its embedding API is, and starts the same Bolt, HTTP and Browser; a
small Java launcher would need a compiler, which a runtime does not have, so Python calls the API.
"""

import argparse
import os
import signal
import threading
from pathlib import Path
from typing import Any

import jpype

_OPENS = ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent", "java.lang")


def main() -> None:
    """Start the server, wait for SIGTERM or SIGINT, and shut it down cleanly."""
    options = _options()
    stopped = threading.Event()
    _start_jvm(options)
    # After the JVM has started: it installs handlers of its own unless told not to (-Xrs), these are the last word.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    _set_password(options)
    service = _start_server(options)
    print("Neo4j is up", flush=True)  # noqa: T201 - this is the log of the server
    while not stopped.wait(1.0):
        pass
    print("Neo4j shuts down", flush=True)  # noqa: T201 - this is the log of the server
    service.shutdown()
    # Left-over Java threads must not keep the process: the store is closed, nothing is left to lose.
    os._exit(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("home", "conf", "classpath", "jvm", "password-file"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--heap", default="512m")
    return parser.parse_args()


def _start_jvm(options: argparse.Namespace) -> None:
    jpype.startJVM(
        str(options.jvm),
        # The quick compiler only: on a small machine the thorough one takes longer to warm up than anybody works.
        *(
            "-Xrs",
            f"-Xms{options.heap}",
            f"-Xmx{options.heap}",
            "-XX:+UseG1GC",
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
        ),
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENS),
        *("-Djava.net.preferIPv4Stack=true", "-Djava.awt.headless=true", "-Dfile.encoding=UTF-8"),
        classpath=options.classpath.read_text(encoding="utf-8").split("\n")[:-1],
        convertStrings=False,
    )


def _set_password(options: argparse.Namespace) -> None:
    """Set the initial password before the first start, so that the default one never works."""
    if (options.home / "data" / "dbms" / "auth.ini").exists() or (options.home / "data" / "databases").exists():
        return
    folder = options.home / "conf"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "neo4j.conf").write_text(options.conf.read_text(encoding="utf-8"), encoding="utf-8")
    context: Any = jpype.JClass("org.neo4j.cli.ExecutionContext")(_path(options.home), _path(folder))
    password = options.password_file.read_text(encoding="utf-8").strip()
    code = jpype.JClass("org.neo4j.cli.AdminTool").execute(context, "dbms", "set-initial-password", password)
    if code != 0:
        raise SystemExit(f"The initial password of Neo4j could not be set (exit code {code}).")


def _start_server(options: argparse.Namespace) -> Any:
    builder = jpype.JClass("org.neo4j.dbms.api.DatabaseManagementServiceBuilder")(_path(options.home))
    return builder.loadPropertiesFromFile(_path(options.conf)).build()


def _path(path: Path) -> Any:
    return jpype.JClass("java.nio.file.Path").of(str(path))


if __name__ == "__main__":
    main()
