"""``make security``: weak code (bandit), known vulnerabilities (pip-audit), and secrets in files (detect-secrets).

Each check runs again only when what it looks at has changed. Without a service that knows vulnerabilities nothing is
audited; that is said, and is no failure. A finding is.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
CACHE = ROOT / ".security_cache"
ROOMS = ("services", "executor", "safety", "matcher", "runbooks", "cypher", "compose")
NOT_LOOKED_AT = ("uv.lock", "tests/", "docs/", "compose/locks/", "compose/gobuild/", ".ci/get_uv.py")
"""Checksums, and secrets that are made up for tests and examples."""
EXPLAINED = {
    ("compose/demo/scenarios/image_pull.py", "Secret Keyword"): "the name of a secret, not its value",
    ("services/pipeline/vetting.py", "Secret Keyword"): "the name of a check",
    ("compose/demo/workloads.py", "Secret Keyword"): "the name of a Kubernetes Secret",
    ("compose/practice/keys.py", "Private Key"): "the first line of a key, to write keys that are made on the spot",
    ("runbooks/dialects/recognise.py", "Secret Keyword"): "a word that runbooks use",
    ("runbooks/secret_refs.py", "Secret Keyword"): "the name under which templates know a parameter",
    ("runbooks/templates.py", "Secret Keyword"): "the name under which templates know secrets",
    ("safety/permissions.py", "Secret Keyword"): "the name of a permission",
    ("services/history/database.py", "Basic Auth Credentials"): "the form of an address, for people",
    ("services/settings_history.py", "Basic Auth Credentials"): "the form of an address, for people",
    ("services/testing/merging.py", "Secret Keyword"): "a word that merged recordings use",
}
"""Findings by file and kind that are no secrets, and why."""


def main() -> int:
    """Run the three; 1 when one found something."""
    files = tracked()
    code = [name for name in files if name.endswith(".py") and name.startswith(ROOMS)]
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    checks: list[tuple[str, str, Callable[[], tuple[bool, str]]]] = [
        ("bandit", digest([*code, "pyproject.toml"]), weak_code),
        ("pip-audit", digest(["uv.lock"]) + today, vulnerabilities),
        ("detect-secrets", digest(files), lambda: secrets(files)),
    ]
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda check: remembered(*check), checks))
    for (name, _, _), (held, told) in zip(checks, results, strict=True):
        print(f"{name}: {told}")
        if not held:
            print(f"{name}: does not hold", file=sys.stderr)
    return 0 if all(held for held, _ in results) else 1


def tracked() -> list[str]:
    """The files of the repository that are there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def digest(names: Iterable[str]) -> str:
    """Of the contents of files."""
    found = hashlib.sha256()
    for name in sorted({*names, "tests/security.py"}):
        found.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    return found.hexdigest()


def remembered(name: str, key: str, work: Callable[[], tuple[bool, str]]) -> tuple[bool, str]:
    """What a check said of the same files; only what held is remembered."""
    note = CACHE / name
    if note.is_file():
        known = json.loads(note.read_text())
        if known["key"] == key:
            return True, f"{known['told']} (unchanged)"
    held, told = work()
    if held and "not audited" not in told:
        CACHE.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"key": key, "told": told}))
    return held, told


def tool(*words: str) -> subprocess.CompletedProcess[str]:
    """A program of this environment."""
    return subprocess.run([BIN / words[0], *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)


def weak_code() -> tuple[bool, str]:
    """Bandit, with what pyproject.toml leaves out and says why."""
    ran = tool("bandit", "-q", "-c", "pyproject.toml", "-r", *ROOMS)
    return ran.returncode == 0, "clean" if ran.returncode == 0 else ran.stdout + ran.stderr


def vulnerabilities() -> tuple[bool, str]:
    """Pip-audit asks PyPI for each package; one that could not be asked about was not audited."""
    ran = tool("pip-audit", "--skip-editable", "--progress-spinner", "off", "--format", "json", "--timeout", "10")
    return audited(ran.stdout, ran.stderr)


def audited(out: str, err: str) -> tuple[bool, str]:
    """What an answer of pip-audit means.

    Args:
        out: its JSON; anything else means that the service could not be asked.
        err: what it said beside.
    """
    try:
        packages = json.loads(out)["dependencies"]
    except (ValueError, KeyError):
        last = (err.strip().splitlines() or ["no answer"])[-1]
        return (
            True,
            f"the packages were not audited, because no service for vulnerabilities can be reached: {last[:160]}",
        )
    bad = [f"{one['name']} {one['version']}: {vuln['id']}" for one in packages for vuln in one.get("vulns", ())]
    skipped = sum("skip_reason" in one for one in packages)
    if bad:
        return False, "\n".join(["known vulnerabilities:", *bad])
    if skipped > 1:  # this project itself is on no index
        return True, f"{skipped} of {len(packages)} packages were not audited: the service does not know them"
    return True, f"no known vulnerabilities in {len(packages)} packages"


def secrets(files: list[str]) -> tuple[bool, str]:
    """Detect-secrets, beside what is explained."""
    own = [name for name in files if not name.startswith(NOT_LOOKED_AT)]
    ran = tool("detect-secrets", "scan", *own)
    try:
        results = json.loads(ran.stdout)["results"]
    except (ValueError, KeyError):
        return False, ran.stdout + ran.stderr
    found = [
        f"{name}:{one['line_number']}: {one['type']}"
        for name, many in sorted(results.items())
        for one in many
        if (name, one["type"]) not in EXPLAINED
    ]
    return not found, "\n".join(found) or f"no secrets in {len(own)} files"


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUTF8", "1")
    sys.exit(main())
