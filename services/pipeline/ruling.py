"""What policies and the ladder of autonomy say to a match, before and after there is a plan."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from executor.model import Access, Plan
from executor.reasons import leaves
from executor.windows import in_any, opens
from matcher.model import Asked, Match
from runbooks.model import LoadedRunbook
from safety.autonomy import Climber, Rung, Standing, lower_of
from safety.model import ApprovalNeeded, GateRequest, Refusal
from safety.policies import Facts, PolicySet, Resolved, strictest
from safety.policy import PolicySettings

DENIED = "policy_denied"
"""A policy forbids it."""
FROZEN = "policy_freeze"
"""A policy allows no changes at this time."""
CLOSED = "policy_window"
"""None of the times in which a policy allows changes."""
UNSIGNED = "policy_signature"
"""A policy wants a signed runbook."""
RUNG_UNKNOWN = "autonomy_unknown"
"""It was not read yet on which rung a runbook stands."""
OBSERVED, SUGGESTED = "observed", "suggested"
"""The runbook may not even ask."""

PASSING = frozenset({FROZEN, CLOSED, RUNG_UNKNOWN})
"""Checks of this module whose no passes with time."""

_BY_A_PERSON = frozenset({Asked.MANUAL, Asked.API})

Labels = Callable[[], Awaitable[Mapping[str, str] | None]]
"""Reads the labels of the target as it is now; None when they cannot be read."""

Unsigned = Callable[[LoadedRunbook], str]
"""Why a runbook does not count as signed; empty when it is."""


class Rungs(Protocol):
    """Knows on which rung somebody stands, without asking anybody."""

    def standing(self, climber: Climber) -> Standing | None:
        """Where somebody stands; None when that was not read yet."""
        ...


TOP = Standing(Rung.AUTO)
"""Where everybody stands who has nothing to earn."""


class NoLadder:
    """Nobody has to earn anything."""

    def standing(self, _: Climber) -> Standing | None:
        """Everybody is at the top."""
        return TOP


def no_signatures(loaded: LoadedRunbook) -> str:
    """Nobody can tell who signed a runbook, so none is."""
    return f"nobody can verify a signature of {loaded.runbook.id}"


@dataclass(frozen=True, slots=True)
class Ruling:
    """What holds for one match.

    Attributes:
        rung: what the runbook may do here.
        why: how it came to stand there.
        limited: some policy is in force, so that the limits of the question are those that it resolved.
        runbook: its id.
        earned: the rung that the runbook has earned, before any ceiling; None where nothing has to be earned.
        no: why nothing may be done about the match; None when something may.
    """

    resolved: Resolved
    rung: Rung
    why: str
    limited: bool
    runbook: str = ""
    earned: Rung | None = None
    no: Refusal | None = None

    @property
    def noted(self) -> dict[str, float | str]:
        """What is recorded with the decision, beside the policies."""
        return {"autonomy": self.earned.value} if self.earned else {}

    def asks(self, plan: Plan | None) -> tuple[str, ...]:
        """Reasons to ask a human. A plan that is not known is taken for one that changes something."""
        found = [f"policy {self.resolved.require_approval} asks for it"] if self.resolved.require_approval else []
        if self.rung is Rung.APPROVE and (plan is None or changes(plan)):
            found.append(f"{self.runbook} may not run by itself here: {self.why}")
        return tuple(found)

    def on(self, request: GateRequest) -> GateRequest:
        """The question with the limits that were resolved for it."""
        return replace(request, policy=self.resolved.limits) if self.limited else request

    def holds(self, plan: Plan | None, foreseen: Refusal | ApprovalNeeded | None) -> Refusal | None:
        """The answer where the runbook may not even ask, with what the gate would have said."""
        if self.rung.height >= Rung.APPROVE.height or not (plan is None or changes(plan)):
            return None
        check = OBSERVED if self.rung is Rung.OBSERVE else SUGGESTED
        if isinstance(foreseen, Refusal):
            said = f"would refuse it: {foreseen.message}"
        else:
            said = f"would ask: {'; '.join(foreseen.reasons)}" if foreseen else "would let it run"
        return Refusal(check, f"{self.runbook} is only {check} here: {self.why}; the gate {said}")


NO_RULING = Ruling(Resolved(PolicySettings()), Rung.AUTO, "", limited=False)
"""No policy, and nothing to earn."""


class Rulings:
    """Asks the policies and the ladder.

    Args:
        policies: gives those in force.
        rungs: who stands where.
        unsigned: why a runbook does not count as signed.
    """

    def __init__(
        self,
        policies: Callable[[], PolicySet] = PolicySet,
        rungs: Rungs | None = None,
        unsigned: Unsigned = no_signatures,
    ) -> None:
        self._policies = policies
        self._rungs = rungs or NoLadder()
        self._unsigned = unsigned

    async def before_plan(self, match: Match, labels: Labels, now: datetime) -> Ruling:
        """What holds for a match.

        Args:
            match: incident and runbook.
            labels: asked only when a policy depends on them.
            now: for windows and freezes.
        """
        policies, facts = self._policies(), facts_of(match)
        if policies.needs_labels(facts):
            facts = replace(facts, labels=await labels())
        resolved = policies.resolve(facts)
        if isinstance(resolved, Refusal):
            return replace(NO_RULING, no=resolved)
        ruling = self._ruling(resolved, match, limited=bool(policies.policies))
        return replace(ruling, no=self._stopped(resolved, match.runbook, now) or ruling.no)

    def after_plan(
        self, ruling: Ruling, match: Match, plan: Plan, labels: Mapping[str, str] | None, now: datetime
    ) -> Ruling:
        """The same with the namespaces that the plan writes to beside the target's own: the strictest counts."""
        policies, own = self._policies(), match.incident.target.namespace
        others = [namespace for namespace in plan.namespaces if namespace != own]
        if not others or not policies.policies:
            return ruling
        found = [ruling.resolved]
        for namespace in others:
            resolved = policies.resolve(replace(facts_of(match), namespace=namespace, labels=labels))
            if isinstance(resolved, Refusal):
                return replace(ruling, no=resolved)
            found.append(resolved)
        together = self._ruling(strictest(found), match, limited=True)
        return replace(together, no=self._stopped(together.resolved, match.runbook, now) or together.no)

    def needs_labels_for(self, match: Match, plan: Plan) -> bool:
        """Whether ``after_plan`` depends on the labels of the target."""
        policies, facts = self._policies(), facts_of(match)
        return any(policies.needs_labels(replace(facts, namespace=one)) for one in plan.namespaces)

    def _ruling(self, resolved: Resolved, match: Match, *, limited: bool) -> Ruling:
        incident = match.incident
        standing = self._rungs.standing(Climber(incident.tenant, match.runbook.runbook.id, incident.target.kind))
        if standing is None:
            unknown = Refusal(RUNG_UNKNOWN, "it was not read yet on which rung the runbook stands")
            return Ruling(resolved, Rung.OBSERVE, "nobody knows", limited, match.runbook.runbook.id, no=unknown)
        return _ruling(resolved, standing, match, limited=limited)

    def _stopped(self, resolved: Resolved, loaded: LoadedRunbook, now: datetime) -> Refusal | None:
        by = {one.field: one.policy for one in resolved.decided}
        if resolved.deny:
            return Refusal(DENIED, f"policy {by.get('deny', '')}: {resolved.deny}", {"policy": by.get("deny", "")})
        if resolved.required_signature and (why := self._unsigned(loaded)):
            return Refusal(UNSIGNED, why, {"policy": by.get("required_signature", "")})
        for policy, freeze in resolved.freezes:
            if freeze.start <= now < freeze.end:
                until = f"{freeze.reason}, until {freeze.end.isoformat()}"
                return Refusal(FROZEN, f"policy {policy}: {until}", {"policy": policy})
        for windows in resolved.windows:
            if not in_any(windows, now):
                following = opens(windows, now)
                when = f"the next opens {following.isoformat()}" if following else "none opens within a week"
                return Refusal(CLOSED, f"no window for changes is open: {when}", {"policy": by.get("windows", "")})
        return None


def facts_of(match: Match) -> Facts:
    """What policies look at, without the labels."""
    incident, runbook = match.incident, match.runbook.runbook
    return Facts(
        tenant=incident.tenant,
        cluster=incident.cluster,
        namespace=incident.target.namespace,
        kind=incident.target.kind,
        runbook=runbook.id,
        tags=runbook.tags,
        severity=incident.signal.severity,
    )


def _ruling(resolved: Resolved, standing: Standing, match: Match, *, limited: bool) -> Ruling:
    run = match.incident.signal.run
    earned = standing.rung if standing is not TOP else None
    rung, why = standing.rung, f"it stands on {standing.rung}"
    if standing.reason:
        why += f" ({standing.reason}, by {standing.by})"
    if run is not None and run.source in _BY_A_PERSON and rung.height < Rung.APPROVE.height:
        # Who asks for a runbook by name needs no suggestion; the yes is still asked for.
        rung, why = Rung.APPROVE, f"{why}, and a person asks for it by name"
    if resolved.autonomy and resolved.autonomy.height < rung.height:
        by = next((one.policy for one in resolved.decided if one.field == "autonomy"), "")
        rung, why = lower_of(rung, resolved.autonomy), f"policy {by} allows no more than {resolved.autonomy}"
    return Ruling(resolved, rung, why, limited, match.runbook.runbook.id, earned)


def changes(plan: Plan) -> bool:
    """Whether a plan does anything to the world; one that only looks has nothing to earn."""
    return bool(plan.touched) or any(step.access is Access.WRITE for step in leaves(plan.steps))
