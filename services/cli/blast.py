"""``rb blast-radius``: what a runbook would affect, as a tree with the reasons."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime
from services.cli.run import checked_request, chosen
from services.cli.runtime import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.tree import Tree

    from runbooks.model import LoadedRunbook
    from services.blast_tree import Branch
    from services.intake.run_request import RunRequest
    from services.pipeline.proposals import Planned
    from services.settings import Settings


@dataclass(frozen=True, slots=True)
class Radius:
    """What was found.

    Attributes:
        planned: the plan with the gate's question.
        gate: what the gate would say to it; empty when it has nothing against it.
    """

    planned: Planned
    branches: tuple[Branch, ...]
    gate: str = ""
    check: str = ""


def blast_radius(
    runbook: Annotated[str, typer.Argument(help="Id of a runbook in force, or a file.")],
    *,
    incident: Annotated[str, typer.Option("--incident", help="Id of a recorded incident; its beginning will do.")] = "",
    target: Annotated[str, typer.Option("--target", help="Instead: KIND/NAMESPACE/NAME or Node/NAME.")] = "",
    param: Annotated[list[str] | None, typer.Option("--param", help="NAME=VALUE for a parameter; repeat it.")] = None,
    context: Annotated[str, typer.Option("--context", help="Kubernetes context.")] = "",
    kubeconfig: Annotated[Path | None, typer.Option("--kubeconfig", help="Kubeconfig file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """Draw what a runbook would touch and what hangs on it, from the live cluster and the graph; nothing is changed.

    Each edge says why it is there, and each object who counts it. Gives 1 when the gate would refuse the plan.

    Examples:
      rb blast-radius raise-memory --incident 3f1c9a
      rb blast-radius drain-node --target Node/worker-1 --json
    """
    if bool(incident) == bool(target):
        raise CommandError("say what it is about: --incident ID or --target KIND/NAMESPACE/NAME", 2)
    settings = runtime.settings_for(
        overrides={"kubernetes": {"context": context or None, "kubeconfig": str(kubeconfig) if kubeconfig else None}}
    )
    known, loaded = chosen(runbook, settings, dry_run=True)
    about = target or runtime.run(_target_of(incident, settings))
    request = checked_request(loaded, settings, target=about, params=param or [], by=runtime.whoami())
    found = runtime.run(_measured(request, known, loaded, settings, context_named=bool(context)))
    if as_json:
        runtime.print_json(radius_json(found))
    else:
        runtime.console().print(drawn(found), soft_wrap=False)
    return 1 if found.check else 0


async def _target_of(incident: str, settings: Settings) -> str:
    """The target of a recorded incident."""
    from services.cli.explain import find  # noqa: PLC0415 - keeps rb --help quick
    from services.graph.ledger import Neo4jDecisionLedger  # noqa: PLC0415 - as above

    async with runtime.open_graph(settings) as graph:
        stories = await find(Neo4jDecisionLedger(graph, settings.matching.default_tenant), incident)
    about = next((story.decision.incident for story in stories if story.decision.incident), None)
    if about is None:
        raise CommandError(f"'{incident}' led to no target")
    return "/".join(filter(None, (about.target.kind, about.target.namespace, about.target.name)))


async def _measured(
    request: RunRequest,
    known: Mapping[str, LoadedRunbook],
    loaded: LoadedRunbook,
    settings: Settings,
    *,
    context_named: bool,
) -> Radius:
    from matcher.errors import LiveUnavailable  # noqa: PLC0415 - keeps rb --help quick
    from matcher.select import RunbookIndex  # noqa: PLC0415 - as above
    from safety.model import Refusal  # noqa: PLC0415 - as above
    from services import logs  # noqa: PLC0415 - as above
    from services.blast_tree import BlastTree  # noqa: PLC0415 - as above
    from services.bootstrap import assemble, make_forecaster  # noqa: PLC0415 - as above
    from services.graph.blast import Neo4jBlastRadius  # noqa: PLC0415 - as above

    logs.configure("error", settings.logging.format)
    parts = await assemble(settings, context_named=context_named)
    try:
        parts.catalog.load()
        index = RunbookIndex([*(one for name, one in known.items() if name != loaded.runbook.id), loaded])
        forecaster = make_forecaster(parts, index)
        planned = await forecaster.planned(request)
        if isinstance(planned, str):
            raise CommandError(f"there is no plan: {planned}")
        asked = planned.request
        tree = BlastTree(parts.cluster, Neo4jBlastRadius(parts.graph, settings.matching.default_tenant))
        branches = await tree.of(asked.blast.resources, asked.tenant, asked.cluster)
        no = forecaster.foreseen(planned)
        refused = isinstance(no, Refusal)
        says = (no.message if isinstance(no, Refusal) else "; ".join(no.reasons)) if no else ""
        return Radius(planned, branches, says, no.check if isinstance(no, Refusal) and refused else "")
    except LiveUnavailable as error:
        raise CommandError(str(error)) from error
    finally:
        await parts.close()


def drawn(found: Radius) -> Tree:
    """The tree for a terminal; names come from outside, so that they are text and never markup."""
    from rich.text import Text  # noqa: PLC0415 - keeps rb --help quick
    from rich.tree import Tree as Drawn  # noqa: PLC0415 - as above

    blast = found.planned.request.blast
    count = "an unknown number of" if blast.count is None else blast.count
    head = f"{found.planned.plan.runbook_id} affects {count} resources"
    numbers = ", ".join(f"{name} {'unknown' if value is None else value}" for name, value in _counts(found).items())
    tree = Drawn(Text(f"{head} ({numbers})", style="bold"))
    for branch in found.branches:
        _grow(tree, branch)
    for line in _notes(found):
        tree.add(Text(line))
    if found.gate:
        verb = f"would refuse ({found.check})" if found.check else "would ask a human"
        tree.add(Text(f"the gate {verb}: {found.gate}", style="red" if found.check else "yellow"))
    return tree


def _grow(tree: Tree, branch: Branch) -> None:
    from rich.text import Text  # noqa: PLC0415 - keeps rb --help quick

    counted = f" [counted: {', '.join(sorted(branch.counted))}]" if branch.counted else ""
    below = tree.add(Text(f"{branch.resource} - {'; '.join(branch.why)}{counted}"))
    for one in branch.below.values():
        _grow(below, one)


def _counts(found: Radius) -> dict[str, Any]:
    blast = found.planned.request.blast
    return {"live": blast.live, "graph": blast.graph, "graph age in seconds": _rounded(blast.graph_age_seconds)}


def _rounded(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)


def _notes(found: Radius) -> list[str]:
    around = found.planned.request.around
    lines = [f"automation is switched off: {one.resource} {one.reason}".rstrip() for one in around.disabled or ()]
    lines += [f"{one.tool} ({one.owner}) keeps {one.resource}" for one in around.managed or ()]
    lines += [
        f"disruption budget {one.name}: {one.disruptions} needed, {one.allowed} allowed" for one in around.budgets or ()
    ]
    share = around.workload_percent
    return [*lines, f"{share:.3g} % of a workload's pods are down at the same time"] if share else lines


def radius_json(found: Radius) -> dict[str, Any]:
    """For programs."""
    asked = found.planned.request
    around = asked.around
    return {
        "runbook": asked.runbook_id,
        "target": asked.target_key,
        "count": asked.blast.count,
        "live": asked.blast.live,
        "graph": asked.blast.graph,
        "graph_age_seconds": asked.blast.graph_age_seconds,
        "namespace_pods": asked.blast.pods,
        "cluster_pods": asked.blast.cluster_pods,
        "workload_percent": around.workload_percent,
        "budgets": [asdict(one) for one in around.budgets or ()],
        "managed": [asdict(one) for one in around.managed or ()],
        "disabled": [asdict(one) for one in around.disabled or ()],
        "unread": dict(around.problems or {}),
        "gate": {"refuses": bool(found.check), "check": found.check, "says": found.gate},
        "tree": [branch.to_json() for branch in found.branches],
    }
