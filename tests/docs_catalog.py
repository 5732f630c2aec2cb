# ruff: noqa: E501 - the lines of a page are as long as they are
"""Writes docs/catalog/ from the runbooks and their acceptance packs: a page for each, and a list of all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from executor.actions import default_actions
from executor.actions.declared import undone
from runbooks.drawing import drawing_of, to_mermaid
from runbooks.loader import load_file
from runbooks.model import Runbook
from runbooks.yaml_source import parse_yaml

CATALOG = Path(__file__).parents[1] / "runbooks" / "catalog"
_MADE = "<!-- Written by `make docs` from runbooks/catalog/. -->\n"


def pages() -> Mapping[str, Callable[[], str]]:
    """A page for each runbook, by its name below docs/, and the list."""
    ids = sorted(path.parent.name for path in CATALOG.rglob("runbook.yaml"))
    return {"catalog/README.md": index, **{f"catalog/{name}.md": partial(page, name) for name in ids}}


def index() -> str:
    """All runbooks with their causes."""
    lines = [
        "# The catalog",
        "",
        _MADE,
        "The runbooks that come with the program. Each is tried on the practice cluster with its cause and with another one",
        "(`tests/e2e/test_catalog_on_cluster.py`), and has an acceptance pack beside it (`rb test runbooks/catalog`).",
        "",
        "| runbook | causes | changes | a human is asked | when it did not help |",
        "|---|---|---|---|---|",
    ]
    for path in sorted(CATALOG.rglob("runbook.yaml")):
        one = load_file(path).runbook
        reasons = ", ".join(_causes(one))
        row = (
            f"[{one.name}]({one.id}.md)",
            reasons,
            ", ".join(_writes(one)),
            _asked(one),
            str(one.verification.on_not_fixed),
        )
        lines.append("| " + " | ".join(_cell(part) for part in row) + " |")
    return "\n".join(lines) + "\n"


def page(name: str) -> str:
    """One runbook."""
    folder = CATALOG / name
    one = load_file(folder / "runbook.yaml").runbook
    return "\n".join([*_head(one), *_limits(one), *_parameters(one), *_steps(one), *_proof(one), *_pack(folder)]) + "\n"


def _head(one: Runbook) -> Iterator[str]:
    yield from (f"# {one.name}", "", _MADE, one.description.strip(), "", f"`{one.id}`, version {one.version}", "")
    yield from ("```mermaid", to_mermaid(drawing_of(one)).rstrip(), "```", "")
    yield from (
        "## When",
        "",
        f"- Root cause: {', '.join(one.trigger.root_cause_reason)}, from {one.trigger.min_confidence:.0%} confidence on",
    )
    if one.trigger.alert:
        yield f"- Or the alert itself: {', '.join(one.trigger.alert)}"
    if one.trigger.affected_resource_kinds:
        yield f"- About: {', '.join(one.trigger.affected_resource_kinds)}"
    if one.trigger.when is not True:
        yield f"- And: `{one.trigger.when}`"
    for check in one.preconditions:
        yield f"- Before anything is changed: {check.name}; else {str(check.on_failure).replace('_', ' ')}"


def _limits(one: Runbook) -> Iterator[str]:
    safety = one.safety
    yield from ("", "## Limits", "", f"- A human is asked: {_asked(one)}")
    yield f"- At most {safety.max_executions_per_hour} executions an hour, {safety.blast_radius_limit} resources, and {_told(safety.cooldown)} of quiet for the target afterwards"
    if safety.ask_again:
        yield f"- After {safety.ask_again.executions} executions for one target within {_told(safety.ask_again.within)} a human is asked"


def _parameters(one: Runbook) -> Iterator[str]:
    if not one.parameters:
        return
    yield from ("", "## Parameters", "", "| name | type | default | meaning |", "|---|---|---|---|")
    for each in one.parameters:
        yield f"| `{each.name}` | {each.type} | `{each.default}` | {_cell(each.description)} |"


def _steps(one: Runbook) -> Iterator[str]:
    actions = default_actions()
    yield from ("", "## Steps, and how each is taken back", "", "| step | action | taken back |", "|---|---|---|")
    for step in one.steps:
        back = _cell(undone(actions[step.action]))
        yield f"| {_cell(step.name)} | [`{step.action}`](../actions.md#{step.action}) | {back} |"


def _proof(one: Runbook) -> Iterator[str]:
    proof = one.verification
    yield from (
        "",
        "## Proof",
        "",
        f"The target is well for {_told(proof.settle)} without a break, within {_told(proof.timeout)}.",
    )
    yield from (f"- And: {criterion.name}" for criterion in proof.success_criteria)
    then = (
        "everything is taken back"
        if str(proof.on_not_fixed) == "rollback"
        else "what was done stays, and people are told"
    )
    yield f"- When it did not help: {then}"


def _pack(folder: Path) -> Iterator[str]:
    """What the acceptance pack tries, and what in it is simulated: the comment at its head."""
    path = folder / "acceptance.yml"
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    said = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
    pack: Any = parse_yaml(text).value
    yield from ("", "## Acceptance pack", "", *said, "")
    for scenario in pack["scenarios"]:
        expected = json.dumps(scenario.get("expected", {}).get("status", "success"))
        yield f"- {scenario['name']}: {expected.strip(chr(34))}"


def _causes(one: Runbook) -> list[str]:
    return list(dict.fromkeys((*one.trigger.root_cause_reason, *one.trigger.alert)))


def _writes(one: Runbook) -> list[str]:
    actions = default_actions()
    changing = (step.action for step in one.steps if str(actions[step.action].access) == "write")
    return [f"`{action}`" for action in dict.fromkeys(changing)]


def _asked(one: Runbook) -> str:
    asked = one.safety.require_approval
    if isinstance(asked, str):
        return f"when `{asked.strip('{} ')}`"
    if asked:
        return "always"
    some = [step.name for step in one.steps if step.require_approval is not False]
    return f"before: {', '.join(some)}" if some else "only where the gate wants it"


def _told(time: timedelta) -> str:
    seconds = int(time.total_seconds())
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")
