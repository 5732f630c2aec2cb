"""``rb policy``: check policies, see which rule decides, and try a change on what was recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime
from services.cli.executions import start_of

if TYPE_CHECKING:
    from safety.policies import Decided, Facts, PolicySet, Resolved
    from services.policies.files import Terms
    from services.settings import Settings
    from services.testing.backtest import Backtest

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_SHOWN = 200


def policy_validate(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders. Default: policies.paths.", show_default=False)
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Check files of policies, each by itself and all together, against the limits of the settings. Needs no server.

    Exit code 0: all can be used; 1: something is wrong; 2: a path does not exist.

    Examples:
      rb policy validate
      rb policy validate policies/ --json
    """
    from services.policies.files import load_set, policy_files  # noqa: PLC0415 - keeps rb --help quick

    settings = runtime.settings_for()
    chosen = _paths(paths, settings)
    found_set, findings = load_set(chosen, terms_of(settings))
    if as_json:
        told = [{**asdict(one), "path": str(one.path)} for one in findings]
        policies = [{"id": p.id, "version": p.version, "place": p.place} for p in found_set.policies]
        runtime.print_json({"policies": policies, "findings": told})
    else:
        for one in findings:
            typer.echo(str(one))
        count = len(list(policy_files(chosen)))
        typer.echo(f"{len(found_set.policies)} policies in {count} files, {len(findings)} errors")
    raise typer.Exit(1 if findings else 0)


def policy_schema() -> None:
    """Print the JSON Schema of files of policies, for editors.

    Examples:
      rb policy schema > policies.schema.json
    """
    from services.policies.model import policies_schema  # noqa: PLC0415 - keeps rb --help quick

    typer.echo(json.dumps(policies_schema(), indent=2, ensure_ascii=False))


def policy_explain(
    *,
    namespace: Annotated[str, typer.Option("--namespace", help="Of the target.")] = "",
    runbook: Annotated[str, typer.Option("--runbook", help="Its id.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="Of the target.")] = "Deployment",
    tenant: Annotated[str, typer.Option("--tenant", help="Default: matching.default_tenant.")] = "",
    cluster: Annotated[str, typer.Option("--cluster", help="Default: that of the settings.")] = "",
    severity: Annotated[str, typer.Option("--severity", help="Of the signal.")] = "",
    label: Annotated[list[str] | None, typer.Option("--label", help="Of the target, NAME=VALUE; repeatable.")] = None,
    incident: Annotated[str, typer.Option("--incident", help="Take all of this from a recorded incident.")] = "",
    as_json: Json = False,
) -> None:
    """Which policy decides each field of a question, what lost, and why.

    Exit code 0: it can be told; 1: it depends on labels that were not given.

    Examples:
      rb policy explain --namespace payments --runbook oomkilled-increase-memory
      rb policy explain --incident 1f0c6a --label tier=gold
    """
    from safety.model import Refusal  # noqa: PLC0415 - keeps rb --help quick
    from safety.policies import Facts  # noqa: PLC0415 - as above

    settings = runtime.settings_for()
    labels = _labels(label) if label is not None else None
    if incident:
        facts = runtime.run(_recorded(settings, incident, labels))
    else:
        named = (tenant or settings.matching.default_tenant, cluster or settings.default_cluster, namespace, kind)
        facts = Facts(*named, runbook, _tags(settings, runbook), severity, labels)
    found = in_force(settings).resolve(facts)
    if isinstance(found, Refusal):
        raise runtime.CommandError(f"{found.message}: give them with --label NAME=VALUE")
    if as_json:
        runtime.print_json(_as_data(facts, found))
    else:
        _show(facts, found)


def policy_test(
    paths: Annotated[list[Path], typer.Argument(help="The new policies: files or folders.", show_default=False)],
    *,
    since: Annotated[str, typer.Option("--since", help="Decisions of this time: 24h, 7d. Empty: all.")] = "7d",
    source: Annotated[
        Path | None, typer.Option("--from", help="A file of 'rb incidents export', not the graph.")
    ] = None,
    fail_on_change: Annotated[
        bool, typer.Option("--fail-on-change", help="Exit with 1 when anything differs.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Try new policies on recorded decisions: what would have been permitted, refused or asked differently.

    Both the policies in force and the new ones are asked about every recorded incident, with the same runbooks, at
    its own time; a human's recorded yes counts as given. Labels are not on record: what depends on them is told as
    unknown, never guessed. Nothing is changed anywhere.

    Examples:
      rb policy test policies-new/ --since 30d
      rb policy test policies-new/ --fail-on-change --json
    """
    settings = runtime.settings_for()
    new = _usable(paths, settings)
    result = _compared(settings, new, since, source)
    changed = [one for one in result.findings if one.before != one.after]
    if as_json:
        moved = moves(result)
        told = {"incidents": result.incidents, "unchanged": result.incidents - len(changed), "changes": moved}
        runtime.print_json({**told, "findings": [one.as_json() for one in changed]})
    else:
        _show_test(result)
    return int(fail_on_change and bool(changed))


def moves(result: Backtest) -> dict[str, int]:
    """How many incidents changed from which answer to which."""
    found: dict[str, int] = {}
    for one in result.findings:
        name = f"{one.before.kind.value} -> {one.after.kind.value}"
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))


def terms_of(settings: Settings) -> Terms:
    """What policies are checked against."""
    from services.connections import policy_of  # noqa: PLC0415 - keeps rb --help quick
    from services.policies.files import Terms  # noqa: PLC0415 - as above

    return Terms(policy_of(settings), settings.policies.loosen)


def _paths(given: Sequence[Path] | None, settings: Settings) -> list[Path]:
    chosen = list(given or settings.policies.files)
    if not chosen:
        raise runtime.CommandError("no policies: name a file, or set policies.paths", 2)
    if missing := [str(path) for path in chosen if not path.exists()]:
        raise runtime.CommandError(f"{', '.join(missing)} does not exist", 2)
    return chosen


def _usable(paths: Sequence[Path], settings: Settings) -> PolicySet:
    from services.policies.files import load_set  # noqa: PLC0415 - keeps rb --help quick

    found, findings = load_set(_paths(paths, settings), terms_of(settings))
    if findings:
        text = "\n".join(str(one) for one in findings)
        raise runtime.CommandError(f"these policies cannot be used:\n{text}", 2)
    return found


def in_force(settings: Settings) -> PolicySet:
    """The policies that the settings name; a CommandError unless all of them can be used."""
    from safety.policies import PolicySet  # noqa: PLC0415 - keeps rb --help quick

    files = settings.policies.files
    return _usable(files, settings) if files else PolicySet((), terms_of(settings).settings)


def _tags(settings: Settings, runbook: str) -> tuple[str, ...]:
    """Those of the runbook in the folders; a name that is not there is a mistake."""
    from runbooks.findings import did_you_mean  # noqa: PLC0415 - keeps rb --help quick
    from services.cli.versions import loaded_runbooks  # noqa: PLC0415 - as above

    if not runbook:
        return ()
    known = loaded_runbooks(settings)
    if runbook not in known:
        raise runtime.CommandError(f"there is no runbook {runbook}; {did_you_mean(runbook, known)}", 2)
    return known[runbook].runbook.tags


def _labels(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise runtime.CommandError(f"--label {one!r}: write NAME=VALUE", 2)
        found[name] = value
    return found


async def _recorded(settings: Settings, text: str, labels: Mapping[str, str] | None) -> Facts:
    """The question of a recorded incident."""
    from safety.policies import Facts  # noqa: PLC0415 - keeps rb --help quick
    from services.graph.ledger import Neo4jDecisionLedger  # noqa: PLC0415 - as above

    matching = settings.matching
    async with runtime.open_graph(settings) as graph:
        ledger = Neo4jDecisionLedger(graph, matching.default_tenant, settings.default_cluster)
        stories = await ledger.find(text, 1)
    incident = stories[0].decision.incident if stories else None
    if incident is None:
        raise runtime.CommandError(f"there is no incident {text} that a runbook was looked for")
    used = stories[0].decision.runbook
    name = used.id if used else ""
    place = (incident.tenant, incident.cluster, incident.target.namespace, incident.target.kind)
    return Facts(*place, name, _tags(settings, name), incident.signal.severity, labels)


def _as_data(facts: Facts, found: Resolved) -> dict[str, Any]:
    fields = [
        {
            "field": one.field,
            "value": told(one.value),
            "policy": one.policy,
            "version": one.version,
            "place": one.place,
            "lost": [
                {"policy": each.policy or "settings", "value": told(each.value), "why": each.why} for each in one.lost
            ],
        }
        for one in found.decided
    ]
    freezes = [
        {"policy": policy, "start": each.start, "end": each.end, "reason": each.reason}
        for policy, each in found.freezes
    ]
    applied = [{"id": use.id, "version": use.version} for use in found.uses]
    return {"question": asdict(facts), "applied": applied, "fields": fields, "freezes": freezes}


def told(value: Any) -> Any:
    """A value of a field for people and programs."""
    if isinstance(value, tuple):
        return [told(one) for one in value]
    return value.model_dump() if hasattr(value, "model_dump") else value


def _show(facts: Facts, found: Resolved) -> None:
    about = f"{facts.runbook or 'any runbook'} on {facts.kind} in {facts.namespace or 'no namespace'}"
    typer.echo(f"{about}, tenant {facts.tenant}, cluster {facts.cluster}")
    if not found.uses:
        typer.echo("No policy applies: the limits of the settings and of the runbook hold.")
    for one in found.decided:
        _show_field(one)
    for policy, freeze in found.freezes:
        typer.echo(f"freeze by {policy}: {freeze.start.isoformat()} to {freeze.end.isoformat()}, {freeze.reason}")


def _show_field(one: Decided) -> None:
    typer.echo(f"{one.field}: {told(one.value)}, by {one.policy} (version {one.version}, {one.place})")
    for lost in one.lost:
        typer.echo(f"  not {told(lost.value)} of {lost.policy or 'the settings'}: {lost.why}")


@dataclass(frozen=True, slots=True)
class _Run:
    """One look through the recorded incidents."""

    settings: Settings
    file: Path
    runbooks: tuple[Any, ...]

    def proposals(self, policies: PolicySet) -> tuple[Any, Any]:
        """What stands at the beginning of the file, and what is asked of the gate under these policies."""
        from dataclasses import replace  # noqa: PLC0415 - keeps rb --help quick

        from services.cli.backtest import knobs_of  # noqa: PLC0415 - as above
        from services.testing.backtest import Setup, opened, propose_all  # noqa: PLC0415 - as above
        from services.testing.history import read_lines  # noqa: PLC0415 - as above

        head, lines = opened(read_lines(self.file))
        knobs = replace(knobs_of(self.settings), policies=policies)
        return head, propose_all(lines, Setup(self.runbooks, head.versions, knobs))


def _compared(settings: Settings, new: PolicySet, since: str, source: Path | None) -> Backtest:
    from services.cli.backtest import history, knobs_of, load_runbooks  # noqa: PLC0415 - keeps rb --help quick
    from services.testing.backtest import compare  # noqa: PLC0415 - as above

    now = datetime.now(UTC)
    start = start_of(since, now)
    runbooks = load_runbooks([Path(one) for one in settings.runbooks.folders])
    with history(settings, source, start, now) as file:
        run = _Run(settings, file, runbooks)
        head, after = run.proposals(new)
        _, before = run.proposals(in_force(settings))
        return compare(after, knobs_of(settings).policy, head, before, start)


def _show_test(result: Backtest) -> None:
    rows = [
        (
            one.incident[:13],
            f"{one.at:%Y-%m-%d %H:%M}",
            one.target,
            one.after.runbook,
            _words(one.before),
            _words(one.after),
        )
        for one in result.findings[:_SHOWN]
    ]
    columns = ("INCIDENT", "DECIDED", "TARGET", "RUNBOOK", "NOW", "WITH THE NEW POLICIES")
    runtime.print_table(columns, rows, empty="Nothing would have been different.")
    if len(result.findings) > _SHOWN:
        typer.echo(f"... and {len(result.findings) - _SHOWN} more: --json shows all")
    counts = ", ".join(f"{count} {name}" for name, count in moves(result).items())
    typer.echo(f"{result.incidents} incidents, {result.unchanged} unchanged{': ' + counts if counts else ''}")


def _words(answer: Any) -> str:
    why = f" ({answer.message})" if answer.message and answer.kind != "permit" else ""
    return f"{answer.kind.value.replace('_', ' ')}{why}"
