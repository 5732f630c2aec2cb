"""``rb approvals``: what waits for a human, and the answer.

The answer is written to the graph, conditionally: whoever is first counts, here, in Slack or on the web. Kafka only
wakes the pipeline up, which looks by itself too.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import identity, runtime, story
from services.cli.secrets import read_ring

if TYPE_CHECKING:
    from executor.model import ExecutionRecord
    from safety.access import Scope
    from safety.approvals import Approval, ApprovalStore, Verb
    from services.approvals.voters import Voters
    from services.kafka.model import Publisher
    from services.ports import ExecutionStore
    from services.settings import Settings, Topics

_LEAST_PREFIX = 4

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Which = Annotated[str, typer.Argument(help="Id of the approval or its execution; the beginning will do.", metavar="ID")]
Choice = Annotated[
    str, typer.Option("--choice", help="One of the answers that the runbook's rules offer.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask again.")]
By = Annotated[str, typer.Option("--by", help="Who answers. Default: the user of this terminal.", show_default=False)]


class Shown(StrEnum):
    """Which approvals are listed."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    OVERTAKEN = "overtaken"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Stores:
    """What the commands look at."""

    approvals: ApprovalStore
    executions: ExecutionStore
    voters: Voters


@dataclass(frozen=True, slots=True)
class Question:
    """An approval with the execution that waits for it."""

    approval: Approval
    execution: ExecutionRecord | None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        approval = self.approval
        plan = self.execution.plan if self.execution else None
        told = {name: getattr(approval, name) for name in approval.__slots__}
        return told | {
            "reasons": list(approval.reasons),
            "rules": [asdict(rule) for rule in approval.rules],
            "yeses": [asdict(yes) for yes in approval.yeses],
            "bypass": [asdict(each) for each in approval.bypass],
            "wanted": [str(each) for each in approval.wanted],
            "lacking": list(approval.lacking),
            "runbook": f"{plan.runbook_id} {plan.runbook_version}" if plan else None,
            "target": plan.target_key if plan else None,
            "steps": [
                {"name": step.name, "action": step.action, "changes": [change.model_dump() for change in step.changes]}
                for step in (plan.steps if plan else ())
            ],
        }


def approvals_list(
    *,
    status: Annotated[Shown, typer.Option("--status", help="Which ones.")] = Shown.PENDING,
    as_json: Json = False,
) -> None:
    """List what waits for an answer, oldest first.

    Examples:
      rb approvals list
      rb approvals list --status all --json
    """

    async def work() -> list[Question]:
        async with _open(runtime.settings_for()) as stores:
            return await questions(stores, status)

    found = [question for question in runtime.run(work()) if _visible(question)]
    if as_json:
        runtime.print_json([question.as_json() for question in found])
        return
    now = datetime.now(UTC)
    columns = ("id", "status", "time left", "runbook", "target", "why a human")
    runtime.print_table(columns, (_row(question, now) for question in found), empty="Nothing waits for an answer.")


def approvals_show(which: Which, *, as_json: Json = False) -> None:
    """Show one question with its plan: each step, what it changes and how that is undone.

    Examples:
      rb approvals show 5f0c2a
    """

    async def work() -> Question:
        async with _open(runtime.settings_for()) as stores:
            return await find(stores, which)

    question = runtime.run(work())
    _require(question, answers=False)
    if as_json:
        runtime.print_json(question.as_json())
    else:
        typer.echo(told(question))


def approvals_approve(
    which: Which,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Goes on record.", show_default=False)] = "",
    choice: Choice = "",
    by: By = "",
    bypass: Annotated[
        str,
        typer.Option(
            "--bypass",
            help="Emergency: go on without the people whom the rules ask, by this bypass of the runbook "
            "('emergency' where it names none). Needs approvals:bypass and --reason; everybody is told.",
            show_default=False,
        ),
    ] = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Say yes to a plan, after showing it. The yes is good for this very plan, once, while it has not expired.

    Where the runbook's rules ask for several people, each says yes by themselves; the plan runs after the last one.

    Examples:
      rb approvals approve 5f0c2a
      rb approvals approve 5f0c2a --yes --by alice --reason "agreed in the incident call"
      rb approvals approve 5f0c2a --bypass emergency-bypass --reason "payments are down and nobody answers"
    """
    from safety.approvals import Verb  # noqa: PLC0415 - keeps rb --help quick

    if bypass:
        if not reason.strip():
            raise runtime.CommandError("a bypass needs a justification: say why with --reason", 2)
        _answer(which, Verb.BYPASS, by, reason, bypass, yes=yes, as_json=as_json)
        return
    _answer(which, Verb.APPROVE, by, reason, choice, yes=yes, as_json=as_json)


def approvals_deny(
    which: Which,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why not; needed, goes on record.", show_default=False)] = "",
    choice: Choice = "",
    by: By = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Say no to a plan, with a reason.

    Examples:
      rb approvals deny 5f0c2a --reason "the team is deploying right now"
    """
    from safety.approvals import Verb  # noqa: PLC0415 - keeps rb --help quick

    if not reason.strip():
        raise runtime.CommandError("say why with --reason: the record keeps it", 2)
    _answer(which, Verb.DENY, by, reason, choice, yes=yes, as_json=as_json)


async def questions(stores: Stores, status: Shown) -> list[Question]:
    """Approvals of a status, each with its execution."""
    from safety.approvals import ApprovalStatus  # noqa: PLC0415 - keeps rb --help quick

    found = await stores.approvals.list(None if status is Shown.ALL else ApprovalStatus(status.value))
    return [Question(approval, await stores.executions.load(approval.execution_id)) for approval in found]


async def find(stores: Stores, which: str) -> Question:
    """One approval by the beginning of its id or its execution's; a pending one is preferred.

    Raises:
        CommandError: there is none, or several begin so.
    """
    from safety.approvals import ApprovalStatus  # noqa: PLC0415 - keeps rb --help quick

    if len(which) < _LEAST_PREFIX:
        raise runtime.CommandError(f"'{which}' is too short: give at least {_LEAST_PREFIX} characters of the id", 2)
    fits = [a for a in await stores.approvals.list() if a.id.startswith(which) or a.execution_id.startswith(which)]
    exact = [a for a in fits if a.id == which]
    pending = [a for a in fits if a.status is ApprovalStatus.PENDING]
    chosen = exact or pending or fits[-1:]
    if not chosen:
        raise runtime.CommandError(f"no approval begins with '{which}'; 'rb approvals list --status all' shows them")
    if len(chosen) > 1:
        raise runtime.CommandError(f"several begin with '{which}': {', '.join(a.id for a in chosen)}", 2)
    return Question(chosen[0], await stores.executions.load(chosen[0].execution_id))


async def answer(stores: Stores, question: Question, verb: Verb, by: str, reason: str, *, choice: str = "") -> Approval:
    """Write the answer to the plan that was shown.

    Raises:
        CommandError: it does not count (answered already, expired, another plan by now, not theirs to give).
    """
    from safety.access import Scope  # noqa: PLC0415 - keeps rb --help quick
    from safety.approvals import ApprovalError, Verb  # noqa: PLC0415 - as above
    from services.approvals.answering import bypass_named, no_bypass  # noqa: PLC0415 - as above

    plan_hash = question.execution.plan.hash if question.execution else ""
    now = datetime.now(UTC)
    voter = await stores.voters.voter(identity.actor_named(by), _scope(question) or Scope(), now)
    if verb is Verb.BYPASS:
        if problem := no_bypass(question.approval, choice, voter):
            raise runtime.CommandError(f"this answer does not count: {problem}")
        choice = bypass_named(question.approval, choice)
    answered = await stores.approvals.answer(
        question.approval.id,
        verb,
        by=by,
        reason=reason,
        now=now,
        plan_hash=plan_hash,
        choice=choice,
        voter=voter,
    )
    if isinstance(answered, ApprovalError):
        raise runtime.CommandError(f"this answer does not count: {answered.message}")
    return answered


async def wake_up(publisher: Publisher, approval: Approval, target_key: str, topics: Topics) -> bool:
    """Tell the pipeline at once; False when Kafka is away, then its sweeper finds the answer."""
    from services.kafka.errors import BusUnavailable  # noqa: PLC0415 - keeps rb --help quick
    from services.pipeline.messages import approval_message  # noqa: PLC0415 - as above

    try:
        await publisher.publish([approval_message(approval, target_key, topics, datetime.now(UTC))])
    except BusUnavailable:
        return False
    return True


def told(question: Question) -> str:
    """A question and its plan, for people."""
    approval, execution = question.approval, question.execution
    lines = [f"Approval {approval.id}: {approval.status}", *(f"  why a human: {reason}" for reason in approval.reasons)]
    if approval.answered_by:
        lines.append(f"  answered by {approval.answered_by}: {approval.answer_reason or 'no reason given'}")
    lines += [f"  {line}" for line in story.demands(approval)]
    lines.append(f"  open until {approval.expires_at:%Y-%m-%d %H:%M:%S} UTC; execution {approval.execution_id}")
    if execution is None:
        return "\n".join([*lines, "The plan is not on record."])
    plan, incident = execution.plan, execution.incident
    confidence = incident.get("confidence")
    because = f" (confidence {confidence:.2f})" if isinstance(confidence, int | float) else ""
    lines += [
        f"Incident {approval.incident_id}: {incident.get('reason', 'unknown')}{because}",
        f"Runbook {plan.runbook_id} {plan.runbook_version} on {plan.target_key}",
        "Plan:",
    ]
    for number, step in enumerate(plan.steps, 1):
        lines.append(f"  {number}. {step.name} ({step.action})")
        for change in step.changes:
            undo = "cannot be undone" if change.irreversible else f"undo: {change.undo}"
            lines.append(f"     {f'{change.ref}: ' if change.ref else ''}{change.summary} [{undo}]")
    return "\n".join(lines)


def _answer(which: str, verb: Verb, by: str, reason: str, choice: str, *, yes: bool, as_json: bool) -> None:
    who = by.strip() or runtime.whoami()

    async def work() -> Question:
        settings = runtime.settings_for()
        async with _open(settings) as stores:
            question = await find(stores, which)
            _require(question, answers=True, bypass=verb == "bypass")
            if not yes:
                _confirm(question, verb)
            answered = await answer(stores, question, verb, who, reason, choice=choice)
        if not await _announce(settings, Question(answered, question.execution)):
            runtime.note("Kafka is away: the answer is on record, and the pipeline finds it by itself within seconds.")
        return Question(answered, question.execution)

    done = runtime.run(work())
    if as_json:
        runtime.print_json(done.as_json())
    else:
        typer.echo(outcome(done.approval))


def _require(question: Question, *, answers: bool, bypass: bool = False) -> None:
    """Make sure that the caller may see or answer this very question.

    Raises:
        CommandError: no permission for its target and runbook, or a machine that would answer.
    """
    from safety.permissions import Permission  # noqa: PLC0415 - keeps rb --help quick

    if answers:
        identity.need_a_person()
    needed = Permission.APPROVALS_RESPOND if answers else Permission.EXECUTIONS_READ
    identity.require(Permission.APPROVALS_BYPASS if bypass else needed, _scope(question))


def _visible(question: Question) -> bool:
    from safety.permissions import Permission  # noqa: PLC0415 - keeps rb --help quick

    return identity.may(Permission.EXECUTIONS_LIST, _scope(question))


def _scope(question: Question) -> Scope | None:
    from services.access import scopes  # noqa: PLC0415 - keeps rb --help quick

    return scopes.of_execution(question.execution) if question.execution else None


def outcome(approval: Approval) -> str:
    """What became of an answer, in one line."""
    if approval.bypassed:
        return f"Bypassed by {approval.answered_by} ({approval.bypassed}): {approval.id}. It is on record, and told."
    if approval.status == "pending":
        return f"Your yes is kept: {approval.id} still waits for {'; '.join(approval.lacking)}"
    return f"{approval.status.capitalize()} by {approval.answered_by}: {approval.id}"


def _confirm(question: Question, verb: Verb) -> None:
    runtime.note(told(question))
    if not sys.stdin.isatty():
        raise runtime.CommandError("nobody is there to confirm: look at the plan, then say --yes", 2)
    typer.confirm(f"{verb.capitalize()} this plan?", abort=True, err=True)


async def _announce(settings: Settings, question: Question) -> bool:
    from services.kafka.bus import KafkaBus  # noqa: PLC0415 - keeps rb --help quick

    kafka = settings.kafka
    bus = KafkaBus(kafka.bootstrap_servers, client=kafka.client, publish_timeout_seconds=5)
    key = question.execution.plan.target_key if question.execution else question.approval.execution_id
    try:
        await bus.start()
        return await wake_up(bus, question.approval, key, kafka.topics)
    except Exception:  # noqa: BLE001 - the answer is on record: whatever keeps Kafka away is only a delay
        return False
    finally:
        await bus.stop()


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Stores]:
    from services.approvals.opening import open_voters  # noqa: PLC0415 - keeps rb --help quick
    from services.clock import SystemClock  # noqa: PLC0415 - as above
    from services.graph.approvals import Neo4jApprovalStore  # noqa: PLC0415 - as above
    from services.graph.executions import Neo4jExecutionStore  # noqa: PLC0415 - as above
    from services.outgoing.opening import service_client  # noqa: PLC0415 - as above
    from services.sealing import sealer  # noqa: PLC0415 - as above

    async with runtime.open_graph(settings) as graph:
        # Plans that hold a secret are kept encrypted: without the keys nobody could answer about them here.
        sealer.ring = await read_ring(settings) or sealer.ring
        http = service_client(settings)
        try:
            voters = open_voters(settings, graph, identity.caller().door.access, http, SystemClock())
            yield Stores(Neo4jApprovalStore(graph), Neo4jExecutionStore(graph), voters)
        finally:
            await http.close()


def _row(question: Question, now: datetime) -> Sequence[str]:
    approval = question.approval
    plan = question.execution.plan if question.execution else None
    left = int((approval.expires_at - now).total_seconds())
    return (
        approval.id[:13],
        approval.status + (f" ({len(approval.yeses)} yes)" if approval.status == "pending" and approval.yeses else ""),
        f"{left // 60}m {left % 60}s" if approval.status == "pending" and left > 0 else "-",
        plan.runbook_id if plan else "?",
        plan.target_key if plan else "?",
        "; ".join(approval.reasons),
    )
