"""The page docs/coverage.md: which test uses which part of the runbook language on real servers."""

from __future__ import annotations

from collections.abc import Iterator

from fakes import coverage

_PARTS = (
    ("Identity", ("id", "name", "version", "author", "type", "tags", "description", "legal_basis", "updated")),
    ("Trigger", ("trigger",)),
    ("Parameters", ("parameters",)),
    ("Assumptions", ("assumptions",)),
    ("Preconditions", ("preconditions",)),
    ("Safety", ("safety", "service_account")),
    ("Steps", ("steps", "procedures", "timeout", "max_parallel")),
    ("Approvals", ("approvals",)),
    ("Verification", ("verification",)),
    ("Rollback", ("rollback",)),
    ("Notification", ("notification", "channels")),
    ("KPIs", ("kpis",)),
    ("Roll-out of versions", ("rollout",)),
    ("Actions", ("action ",)),
)
_HEAD = """\
# Coverage of the runbook language

What a runbook can say, and the actions: each line is used by at least one test that runs `rb serve` on the real Kafka,
Neo4j, Redis and API server. The page is made by `make docs` from `tests/coverage.json`, which the tests write
themselves (`pytest --write-coverage`): the executions that a test looked at are read back from the graph, with the
runbook that they were pinned to and the steps that succeeded. A test that no longer uses what is said of it here fails
the run.

`steps` stand for every list of steps, `channels` are what each moment under `notification` may have, and `a=b` is the
word `b` of the key `a`.
"""


def render() -> str:
    """The page."""
    return _HEAD + "".join(_section(title, keys) for title, keys in _PARTS)


def part_of(line: str) -> str:
    """The section that a line belongs to; empty when none does."""
    return next((title for title, keys in _PARTS if _root(line) in keys), "")


def _root(line: str) -> str:
    return coverage.ACTION if line.startswith(coverage.ACTION) else line.partition("=")[0].partition(".")[0]


def _section(title: str, keys: tuple[str, ...]) -> str:
    head = "| action | tests |" if title == "Actions" else "| key | tests |"
    return f"\n## {title}\n\n{head}\n|---|---|\n" + "".join(_rows(keys))


def _rows(keys: tuple[str, ...]) -> Iterator[str]:
    record = coverage.read()
    for line in coverage.lines():
        if _root(line) in keys:
            tests = ", ".join(f"`{test.removeprefix('tests/')}`" for test in record.get(line, ()))
            yield f"| `{line.removeprefix(coverage.ACTION)}` | {tests or '**none**'} |\n"
