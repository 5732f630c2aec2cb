"""Which parts of the language tests used on real servers, noted while they run.

``Served`` tells which incidents a test looked at. What their executions ran, and what the runbooks said that were
chosen for them, is read from the graph and from the folder of runbooks, before the installation is taken away. The
record of all runs is ``tests/coverage.json``: ``pytest --write-coverage`` brings it up to date with the tests that ran,
and any other run fails when a test no longer uses what the record says of it.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "coverage.json"
ACTION = "action "
_KEPT = 3

_USED = """
MATCH (d:Decision {cluster: $name}) WHERE d.event_id IN $events
OPTIONAL MATCH (d)-[:LED_TO]->(e:RunbookExecution)
RETURN d.event_id AS event, d.runbook_id AS runbook,
       [(e)-[:USED]->(v:RunbookVersion) | v.yaml] AS texts,
       [(e)-[:STEP]->(s:StepRun) WHERE s.status = 'succeeded' | s.action] AS actions
"""


class Coverage:
    """What was seen in this run of the tests."""

    def __init__(self) -> None:
        self.seen: dict[str, set[str]] = defaultdict(set)
        self.passed: set[str] = set()
        self.failed: set[str] = set()

    async def note(self, world: Any, looked: Mapping[str, Iterable[str]]) -> None:
        """Note what an installation did for incidents: ids of their events, each with the tests that looked at it."""
        if not looked:
            return
        rows = await world.query(_USED, events=list(looked))
        written = _by_id(world.folder / "runbooks")
        for row in rows:
            found = {f"{ACTION}{name}" for name in map(canonical, row["actions"] or ()) if name}
            for text in (*(row["texts"] or ()), *written.get(row["runbook"], ())):
                found |= said(text)
            for test in looked[row["event"]]:
                self.seen[test] |= found

    def broken(self, record: Mapping[str, list[str]]) -> list[str]:
        """What the record says of tests that passed now and did not do it."""
        return [
            f"{test} no longer uses {line}"
            for line, tests in record.items()
            for test in tests
            if test in self.passed and line not in self.seen[test]
        ]

    def merged(self, record: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """The record with what was seen now; tests that did not run keep what is said of them."""
        merged: dict[str, list[str]] = {}
        for line in lines():
            kept = [test for test in record.get(line, ()) if test not in self.passed or line in self.seen[test]]
            new = sorted(test for test in self.passed if line in self.seen[test] and test not in kept)
            if tests := sorted([*kept, *new][:_KEPT]):
                merged[line] = tests
        return merged


RUN = Coverage()
"""Of this process."""


def current_test() -> str:
    """The test that runs now, without its parameters; empty outside of tests."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0].partition("[")[0]


def lines() -> tuple[str, ...]:
    """Every line of the two lists: the keys of the model with their words, and the actions."""
    from fakes.language import keys  # noqa: PLC0415 - runs without servers must not pay for it

    from executor.actions import default_actions  # noqa: PLC0415 - as above

    return (*keys(), *sorted({f"{ACTION}{canonical(name)}" for name in default_actions()}))


@cache
def canonical(action: str) -> str:
    """The canonical name of an action of the product; empty for others."""
    from executor.actions import action_schemas, default_actions  # noqa: PLC0415 - as above

    return str(action_schemas(default_actions()).get(action, {}).get("x-name", ""))


def said(text: str) -> frozenset[str]:
    """The keys that a runbook uses, and the actions of its checks; nothing of what is no runbook."""
    from fakes.language import used  # noqa: PLC0415 - as above

    from runbooks.findings import RunbookError  # noqa: PLC0415 - as above
    from runbooks.loader import read_canonical  # noqa: PLC0415 - as above

    try:
        return used(read_canonical(text).source.value["runbook"])
    except RunbookError:
        return frozenset()


def _by_id(folder: Path) -> dict[str, list[str]]:
    """The texts of the runbooks in a folder, by id."""
    import yaml  # noqa: PLC0415 - as above

    found = defaultdict(list)
    for path in folder.glob("*.y*ml"):
        text = path.read_text(encoding="utf-8")
        try:
            found[yaml.safe_load(text)["runbook"]["id"]].append(text)
        except (KeyError, TypeError, yaml.YAMLError):
            continue  # another document, or one that is broken on purpose
    return found


def read() -> dict[str, list[str]]:
    """The record of all runs."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def write(record: Mapping[str, list[str]]) -> None:
    """Write the record."""
    FILE.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
