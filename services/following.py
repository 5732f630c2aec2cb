"""One request followed to its end: from messages on Kafka, and from the graph, to what is known of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from executor.model import Status, Verdict
from services.pipeline.rehearsal import DRY_RUN
from services.records import DecisionKind, Story

_GOING_ON = frozenset({DecisionKind.PERMIT, DecisionKind.APPROVAL, DecisionKind.WAITING})
_MOST_EARLY = 2_000


@dataclass(frozen=True, slots=True)
class StepSeen:
    """One step as far as it was told."""

    id: str
    name: str
    phase: str = "step"
    action: str = ""
    item: int | None = None
    attempt: int = 1
    status: str = "running"
    seconds: float | None = None
    message: str = ""

    @property
    def key(self) -> tuple[str, str, int | None]:
        """What tells it from other steps."""
        return self.phase, self.id, self.item


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a request.

    Attributes:
        decision: kind of the decision; empty before there is one.
        check: who said no.
        says: the decision in words.
        approval: id of the approval that it waits for; empty when it waits for none.
        stage: what the execution does: started, verifying, rolling_back, paused, ...
        early: events of executions that came before the decision that names one.
    """

    request_id: str
    decision: str = ""
    check: str = ""
    says: str = ""
    execution_id: str = ""
    approval: str = ""
    stage: str = ""
    steps: tuple[StepSeen, ...] = ()
    verdict: str = ""
    outcome: str = ""
    message: str = ""
    done: bool = False
    early: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    @property
    def held(self) -> bool:
        """Whether it ended as it should: proven, or, where only a dry run was asked for, told."""
        return self.done and (self.verdict == Verdict.VERIFIED or self.check == DRY_RUN)


def take(seen: Seen, message: Mapping[str, Any]) -> Seen:
    """What is known after one more message of the decisions, approvals or executions."""
    schema = str(message.get("schema", ""))
    if schema.startswith("remediation.decision/"):
        return _decided(seen, message) if message.get("event_id") == seen.request_id else seen
    if not schema.startswith(("remediation.execution/", "remediation.approval/")):
        return seen
    if not seen.execution_id:
        # Topics are read side by side: what an execution says can come before the decision that it follows from.
        return replace(seen, early=(*seen.early, message)[-_MOST_EARLY:])
    if message.get("execution_id") != seen.execution_id:
        return seen
    return _asked(seen, message) if schema.startswith("remediation.approval/") else _moved(seen, message)


def _decided(seen: Seen, message: Mapping[str, Any]) -> Seen:
    kind = str(message.get("kind", ""))
    after = replace(
        seen,
        decision=kind,
        check=message.get("check") or "",
        says=message.get("message") or "",
        execution_id=message.get("execution_id") or seen.execution_id,
        approval=seen.approval if kind == DecisionKind.APPROVAL else "",
        done=kind not in _GOING_ON,
    )
    if not after.execution_id:
        return after
    early, after = after.early, replace(after, early=())
    for each in early:
        after = take(after, each)
    return after


def _asked(seen: Seen, message: Mapping[str, Any]) -> Seen:
    pending = message.get("status") == "pending"
    number = str(message.get("approval_id", ""))
    if pending:
        return replace(seen, approval=number)
    return replace(seen, approval="") if seen.approval == number else seen


def _moved(seen: Seen, message: Mapping[str, Any]) -> Seen:
    event = str(message.get("event", ""))
    if event in {"step_started", "step_retry", "step_finished"}:
        return replace(seen, steps=_with_step(seen.steps, _step(event, message)))
    if event == "finished":
        return replace(
            seen,
            stage=event,
            verdict=message.get("verdict") or "",
            outcome=message.get("outcome") or "",
            message=message.get("message") or "",
            approval="",
            done=True,
        )
    return replace(seen, stage=event, message=message.get("message") or seen.message)


def _step(event: str, message: Mapping[str, Any]) -> StepSeen:
    return StepSeen(
        id=str(message.get("step") or ""),
        name=str(message.get("name") or message.get("step") or ""),
        phase=str(message.get("phase") or "step"),
        action=str(message.get("action") or ""),
        item=message.get("item"),
        attempt=message.get("attempt") or 1,
        status=str(message.get("result") or "") if event == "step_finished" else "running",
        seconds=message.get("seconds"),
        message=str(message.get("message") or ""),
    )


def _with_step(steps: tuple[StepSeen, ...], step: StepSeen) -> tuple[StepSeen, ...]:
    if any(each.key == step.key for each in steps):
        return tuple(step if each.key == step.key else each for each in steps)
    return (*steps, step)


def from_record(seen: Seen, story: Story) -> Seen:
    """What is known after a look at the record: messages can be lost, the record cannot."""
    decision = story.decision
    after = replace(
        seen,
        decision=decision.kind.value,
        check=decision.check,
        says=decision.message,
        done=seen.done or decision.kind not in _GOING_ON,
    )
    if not story.executions:
        return after
    told = story.executions[-1]
    record = told.record
    pending = [one.id for one in told.approvals if one.status.value == "pending"]
    after = replace(after, execution_id=record.id, approval=pending[-1] if pending else "")
    for run in record.steps:
        seconds = (run.finished_at - run.started_at).total_seconds() if run.finished_at else None
        status = "running" if run.status.value == "intended" else run.status.value
        step = StepSeen(run.step_id, run.name, run.phase, run.action, run.item, run.attempt, status, seconds, run.error)
        after = replace(after, steps=_with_step(after.steps, step))
    if record.status is Status.DONE:
        after = replace(
            after,
            stage="finished",
            verdict=record.verdict.value if record.verdict else "",
            outcome=record.outcome.value if record.outcome else "",
            message=record.error,
            done=True,
        )
    return replace(after, early=())


def lines(before: Seen, after: Seen) -> Iterator[str]:
    """What is new, one line each, for a terminal that scrolls or a log."""
    if (after.decision, after.says) != (before.decision, before.says):
        yield f"decision: {_DECISIONS.get(after.decision, after.decision)}" + (f": {after.says}" if after.says else "")
    if after.execution_id != before.execution_id:
        yield f"execution: {after.execution_id}"
    if after.approval and after.approval != before.approval:
        yield f"waits for a human: rb approvals approve {after.approval}"
    if after.stage != before.stage and after.stage not in {"", "finished"}:
        yield after.stage.replace("_", " ") + (f": {after.message}" if after.message != before.message else "")
    known = {step.key: step for step in before.steps}
    for step in after.steps:
        if known.get(step.key) != step:
            yield told(step)
    if after.done and not before.done and after.stage == "finished":
        yield f"ended: {ending(after)}"


def told(step: StepSeen) -> str:
    """One step in one line."""
    phase = "" if step.phase == "step" else f"{step.phase}: "
    item = "" if step.item is None else f" [{step.item}]"
    attempt = f", attempt {step.attempt}" if step.attempt > 1 else ""
    took = "" if step.seconds is None or step.status == "running" else f" in {step.seconds:.1f} s"
    why = f": {step.message}" if step.message else ""
    return f"step {phase}{step.name}{item} ({step.action}): {step.status}{took}{attempt}{why}"


def ending(seen: Seen) -> str:
    """How it ended, in words."""
    if seen.stage != "finished":
        return f"{_DECISIONS.get(seen.decision, seen.decision)}: {seen.says}"
    parts = [seen.outcome.replace("_", " ") or "no outcome", f"verdict {seen.verdict.replace('_', ' ') or 'none'}"]
    return ", ".join(parts) + (f": {seen.message}" if seen.message else "")


_DECISIONS = {
    "permit": "permitted",
    "approval": "a human has to say yes first",
    "refusal": "refused",
    "no_match": "not run",
    "no_target": "no target",
    "plan_failed": "no plan",
    "waiting": "waiting",
}
