"""``rb executions orphans|adopt|abort|repair``: what nobody looks after, and what a person does about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import identity, runtime

if TYPE_CHECKING:
    from services.graph.connect import Graph
    from services.graph.orphans import Asked, Neo4jOrphans
    from services.orphans.mending import Mending, Repair
    from services.orphans.model import Orphan
    from services.records import ExecutionSummary

_LEAST = 6
_POLL_SECONDS = 0.5

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
By = Annotated[str, typer.Option("--by", help="Who says so. Default: the user of this terminal.", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stays in the audit trail.", show_default=False)]
Which = Annotated[str, typer.Argument(help="Id of an execution; the beginning will do.", show_default=False)]
Wait = Annotated[int, typer.Option("--wait", min=0, help="Seconds to wait for a running process; 0 for not.")]


def executions_orphans(*, as_json: Json = False) -> None:
    """List what nobody looks after, with what to do about each. Ends with 1 when there is any.

    Executions whose lease ran out, permits that nobody claimed, questions past their time, locks in Redis without an
    execution, impossible states, and records that this release cannot read. Nothing is changed.

    Examples:
      rb executions orphans
      rb executions orphans --json
    """
    found = _visible(runtime.run(_find()))
    if as_json:
        runtime.print_json([one.as_json() for one in found])
    else:
        rows = [(one.kind.value, one.what, one.id, one.target_key or "-", one.why, one.do) for one in found]
        runtime.print_table(("kind", "what", "id", "target", "why", "what to do"), rows, empty="There are no orphans.")
    if found:
        raise typer.Exit(1)


def executions_adopt(
    execution: Which, *, reason: Reason = "", by: By = "", wait: Wait = 60, as_json: Json = False
) -> None:
    """Have an execution carried on by a running process, which claims it under a larger epoch.

    Nothing is run by this command. An execution whose holder is alive is left to it.

    Examples:
      rb executions adopt 8a41d2 --reason "its node was lost"
    """
    name, who, why = _chosen(execution), by or runtime.whoami(), _because(reason)
    asked, taken = runtime.run(_hand_on(name, who, why, wait=wait, rollback=False))
    _tell_handed(name, asked, taken, wait, as_json=as_json)


def executions_abort(
    execution: Which,
    *,
    rollback: Annotated[
        bool | None,
        typer.Option("--rollback/--no-rollback", help="Whether what was done is taken back.", show_default=False),
    ] = None,
    reason: Reason = "",
    by: By = "",
    wait: Wait = 60,
    as_json: Json = False,
) -> None:
    """End an execution that nobody carries on, and free its target.

    One that has begun needs a choice: --rollback has a running process take back what was done, --no-rollback leaves it
    as it is. An execution whose holder is alive is not ended: pause it (rb pause --target), or stop that process.

    Examples:
      rb executions abort 8a41d2 --no-rollback --reason "fixed by hand"
      rb executions abort 8a41d2 --rollback --reason "wrong target"
    """
    name, who, why = _chosen(execution, rollback=rollback), by or runtime.whoami(), _because(reason)
    if rollback:
        asked, taken = runtime.run(_hand_on(name, who, why, wait=wait, rollback=True))
        _tell_handed(name, asked, taken, wait, as_json=as_json)
        return
    asked = runtime.run(_abort(name, who, why))
    if asked.refusal:
        raise runtime.CommandError(f"execution {name} was not ended: {asked.refusal}")
    if as_json:
        runtime.print_json({"id": name, "ended": True, "before": asked.status})
    else:
        typer.echo(f"Execution {name} was {asked.status} and has ended; what it had done stays. Its target is free.")


def executions_repair(
    *,
    apply: Annotated[bool, typer.Option("--apply/--dry-run", help="Do it, instead of only telling.")] = False,
    reason: Reason = "",
    by: By = "",
    as_json: Json = False,
) -> None:
    """Mend what can be mended without touching production. Without --apply it only tells what it would do.

    Locks of executions that have ended are released, permits that ran out and questions past their time are ended, and
    the gate's store is filled from the graph. Ends with 1 when something could not be mended.

    Examples:
      rb executions repair
      rb executions repair --apply --reason "after the outage of Redis"
    """
    why = _because(reason) if apply else reason
    done = runtime.run(_repair(by or runtime.whoami(), why, apply=apply))
    if as_json:
        runtime.print_json([{"id": one.id, "what": one.what, "outcome": one.outcome} for one in done])
    else:
        runtime.print_table(("outcome", "what"), [(one.outcome, one.what) for one in done])
        if not apply:
            runtime.note("Nothing was changed: --apply does it.")
    if any(one.outcome.startswith("failed") for one in done):
        raise typer.Exit(1)


def _because(reason: str) -> str:
    if not reason.strip():
        raise runtime.CommandError("say why with --reason: it stays in the audit trail", 2)
    return reason.strip()


def _visible(found: Sequence[Orphan]) -> list[Orphan]:
    """Those that the caller may see."""
    from safety.permissions import Permission  # noqa: PLC0415 - keeps rb --help quick
    from services.access import scopes  # noqa: PLC0415 - as above

    return [
        one
        for one in found
        if identity.may(Permission.EXECUTIONS_LIST, scopes.of_target(one.tenant, one.target_key, one.runbook_id))
    ]


def _chosen(text: str, *, rollback: bool | None = False) -> str:
    """The id of the one execution that a text names, after asking whether the caller may touch it.

    Raises:
        CommandError: none or several fit, the caller may not, or a choice is missing.
    """
    from safety.permissions import Permission  # noqa: PLC0415 - keeps rb --help quick
    from services.access import scopes  # noqa: PLC0415 - as above

    if len(text) < _LEAST:
        raise runtime.CommandError(f"'{text}' is too short: give at least {_LEAST} characters of the id", 2)
    found = [one for one in runtime.run(_summaries(text)) if one.id.startswith(text)]
    found = [one for one in found if one.id == text] or found
    if not found:
        raise runtime.CommandError(f"no execution is on record about '{text}'")
    if len(found) > 1:
        raise runtime.CommandError(f"several executions begin with '{text}': {', '.join(o.id for o in found)}", 2)
    (one,) = found
    identity.require(Permission.EXECUTIONS_MANAGE, scopes.of_target(one.tenant, one.target_key, one.runbook_id))
    if rollback is None and one.started_at is not None and one.finished_at is None:
        raise runtime.CommandError("it has begun: say with --rollback or --no-rollback what becomes of its changes", 2)
    return one.id


async def _summaries(text: str) -> Sequence[ExecutionSummary]:
    """Lines of executions, which can be read also where a plan cannot."""
    from services.graph.executions import Neo4jExecutionStore  # noqa: PLC0415 - keeps rb --help quick

    async with runtime.open_graph(runtime.settings_for()) as graph:
        return await Neo4jExecutionStore(graph).named(text)


async def _find() -> list[Orphan]:
    async with open_mending() as mending:
        return await mending.find()


async def _repair(by: str, reason: str, *, apply: bool) -> list[Repair]:
    async with open_mending() as mending:
        return await mending.repair(by=by, reason=reason, apply=apply)


async def _abort(name: str, by: str, reason: str) -> Asked:
    from services.clock import SystemClock  # noqa: PLC0415 - keeps rb --help quick
    from services.graph.approvals import Neo4jApprovalStore  # noqa: PLC0415 - as above
    from services.orphans.mending import close_questions  # noqa: PLC0415 - as above

    settings = runtime.settings_for()
    async with runtime.open_graph(settings) as graph, runtime.open_gate(settings) as gate:
        asked = await _orphans(graph).abort(name, by=by, reason=reason)
        if asked.refusal:
            return asked
        why = f"aborted by {by}: {reason}"
        await close_questions(Neo4jApprovalStore(graph), name, by, why, SystemClock().now())
        if asked.status in {"running", "verifying", "rolling_back"}:
            _, cooldown = (await _orphans(graph).states([name])).get(name, ("", 0.0))
            await gate.release(name, asked.target_key, cooldown)
        else:
            await gate.cancel(name, asked.target_key)
        return asked


async def _hand_on(name: str, by: str, reason: str, *, wait: int, rollback: bool) -> tuple[Asked, str]:
    """Ask, and wait until a process has taken it; gives who has, or an empty text."""
    async with runtime.open_graph(runtime.settings_for()) as graph:
        orphans = _orphans(graph)
        asked = await orphans.hand_on(name, by=by, reason=reason, rollback=rollback)
        if asked.refusal:
            return asked, ""
        for _ in range(round(wait / _POLL_SECONDS)):
            row = await orphans.held(name)
            if row and (row["status"] == "done" or (row["epoch"] or 0) > (asked.epoch or 0)):
                return asked, row["holder"] or "a process"
            await asyncio.sleep(_POLL_SECONDS)
        return asked, ""


def _tell_handed(name: str, asked: Asked, taken: str, wait: int, *, as_json: bool) -> None:
    if asked.refusal:
        raise runtime.CommandError(f"execution {name} was not handed on: {asked.refusal}")
    if as_json:
        runtime.print_json({"id": name, "asked": True, "before": asked.status, "taken_by": taken or None})
    elif taken:
        typer.echo(f"Execution {name} is carried on by {taken}.")
    elif not wait:
        typer.echo(f"Execution {name} is handed to the first running process that looks.")
    if wait and not taken:
        raise runtime.CommandError(
            f"nobody took execution {name} within {wait} s: is rb serve --role act running for its cluster? "
            "The request stands; the next process that starts carries it on"
        )


def _orphans(graph: Graph) -> Neo4jOrphans:
    from services.graph.orphans import Neo4jOrphans  # noqa: PLC0415 - keeps rb --help quick

    return Neo4jOrphans(graph, runtime.settings_for().default_cluster)


@asynccontextmanager
async def open_mending() -> AsyncIterator[Mending]:
    """What finds and mends orphans, connected; closed afterwards."""
    from services import connections  # noqa: PLC0415 - keeps rb --help quick
    from services.clock import SystemClock  # noqa: PLC0415 - as above
    from services.graph.approvals import Neo4jApprovalStore  # noqa: PLC0415 - as above
    from services.graph.executions import Neo4jExecutionStore  # noqa: PLC0415 - as above
    from services.graph.history import Neo4jGateHistory  # noqa: PLC0415 - as above
    from services.orphans.mending import Mending  # noqa: PLC0415 - as above

    settings = runtime.settings_for()
    async with runtime.open_graph(settings) as graph, runtime.open_redis(settings) as redis:
        clock = SystemClock()
        yield Mending(
            orphans=_orphans(graph),
            executions=Neo4jExecutionStore(graph, settings.default_cluster),
            approvals=Neo4jApprovalStore(graph),
            gate=connections.open_gate(settings, redis, graph, clock, command=True),
            history=Neo4jGateHistory(graph),
            redis=redis,
            prefix=settings.redis.prefix,
            clock=clock,
            cluster=settings.default_cluster,
        )
