"""``rb explain``: the whole story of an incident, also why nothing was done."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import identity, runtime, story

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.ports import DecisionLedger, ExecutionStore
    from services.records import Story

_LEAST = 6


def explain(
    incident: Annotated[
        str, typer.Argument(help="Id of an incident, decision, event or execution; the beginning will do.")
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Tell what happened and why, also why nothing was done.

    Signal, root causes, target, every runbook that was looked at with why it lost, the gate's answer with its
    numbers, approval, plan, steps, the evidence of the verification, and the times.

    Examples:
      rb explain 3f1c9a
      rb explain 3f1c9a --json
    """

    async def work() -> Sequence[Story]:
        from safety.permissions import Permission  # noqa: PLC0415 - keeps rb --help quick
        from services.access import scopes  # noqa: PLC0415 - as above
        from services.graph.executions import Neo4jExecutionStore  # noqa: PLC0415 - as above
        from services.graph.ledger import Neo4jDecisionLedger  # noqa: PLC0415 - as above

        settings = runtime.settings_for()
        async with runtime.open_graph(settings) as graph:
            found = await find(Neo4jDecisionLedger(graph, settings.matching.default_tenant), incident)
            for one in found:
                identity.require(Permission.EXECUTIONS_READ, scopes.of_decision(one.decision))
            return [await with_success(one, Neo4jExecutionStore(graph), datetime.now(UTC)) for one in found]

    found = runtime.run(work())
    if as_json:
        runtime.print_json([story.story_json(one) for one in found])
    else:
        typer.echo("\n\n".join(story.story_text(one) for one in found))


async def find(ledger: DecisionLedger, text: str) -> Sequence[Story]:
    """The decisions that a text names; several only when they share the id itself (an event of two incidents).

    Raises:
        CommandError: none is known, or the beginning fits several.
    """
    if len(text) < _LEAST:
        raise runtime.CommandError(f"'{text}' is too short: give at least {_LEAST} characters of the id", 2)
    found = await ledger.find(text)
    if not found:
        raise runtime.CommandError(f"nothing is on record about '{text}'")
    exact = [one for one in found if text in _names(one)]
    if exact or len(found) == 1:
        return exact or found
    lines = "\n".join(f"  {one.decision.id} {one.decision.kind} {one.decision.signal.reason}" for one in found)
    raise runtime.CommandError(f"several decisions begin with '{text}':\n{lines}", 2)


async def with_success(one: Story, executions: ExecutionStore, now: datetime) -> Story:
    """The story, with how often the runbook helped lately where its author promised something of that."""
    from executor.kpis import HISTORY  # noqa: PLC0415 - keeps rb --help quick

    told = []
    for run in one.executions:
        plan = run.record.plan
        success = None
        if plan.terms.promises.min_success_rate is not None:
            tenant = one.decision.signal.tenant
            success = await executions.success(plan.runbook_id, tenant, now - HISTORY)
        told.append(replace(run, success=success))
    return replace(one, executions=tuple(told))


def _names(one: Story) -> set[str]:
    """Every id under which a decision is known."""
    decision = one.decision
    incident = {decision.incident.id} if decision.incident else set()
    runs = {run.record.id for run in one.executions}
    return {decision.id, decision.signal.event_id, *decision.event_ids, *incident, *runs}
