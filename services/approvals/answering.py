"""Answers of people whose identity is known: the one way from any surface to the record.

The answer is written to the graph, conditionally: whoever is first counts. Kafka only wakes the pipeline up, which
looks by itself too.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from executor.failpoints import Failpoint, reach
from executor.ports import Clock
from safety.access import Access, Actor, Denied, Scope
from safety.approvals import EMERGENCY, Approval, ApprovalError, ApprovalProblem, ApprovalStore, Verb
from safety.permissions import Permission
from safety.quorum import ANYBODY, Voter
from services.access.denials import Denials, Try
from services.approvals.facts import scope_of
from services.approvals.voters import KINDS, Voters
from services.kafka.model import Publisher
from services.pipeline.messages import approval_message
from services.ports import ExecutionStore
from services.settings import Topics

log = structlog.get_logger(__name__)

_DENIED = frozenset({ApprovalProblem.NOT_ALLOWED, ApprovalProblem.OWN_REQUEST, ApprovalProblem.NOT_ASKED})
"""What the person lacks; the other problems are of the question, or of how it was answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody says to a question.

    Attributes:
        plan_hash: of the plan that was shown.
        choice: one of the answers that the rules offer.
        surface: where it was given, for the log.
    """

    approval_id: str
    plan_hash: str
    verb: Verb
    reason: str = ""
    choice: str = ""
    surface: str = ""


def bypass_named(approval: Approval, name: str) -> str:
    """The emergency way that is meant: the one that is named, else the runbook's first, else none in particular."""
    if approval.bypass:
        return name or approval.bypass[0].name
    return EMERGENCY


def no_bypass(approval: Approval, name: str, voter: Voter) -> str:
    """Why the emergency way is not this person's; empty when it is. Stand-ins do not count."""
    known = {each.name: each for each in approval.bypass}
    if name and known and name not in known:
        return f"the runbook has no bypass {name!r:.80}; it has {', '.join(known)}"
    found = known.get(bypass_named(approval, name))
    if found is None or not found.roles or ANYBODY in voter.hats:
        return ""
    held = {f"{kind}:{role}" for role in found.roles for kind in KINDS}
    return "" if held & set(voter.hats) else f"the bypass {found.name} is for {', '.join(found.roles)}"


class Answering:
    """Takes answers.

    Args:
        access: who may answer what. Where no roles are configured, everybody whose identity a surface could tie to a
            person may: the settings of the surface name them.
        voters: knows as what people count.
        denials: told of each answer of somebody who may not give it; None where nobody is.
    """

    def __init__(
        self,
        *,
        approvals: ApprovalStore,
        executions: ExecutionStore,
        access: Access,
        voters: Voters,
        publisher: Publisher,
        topics: Topics,
        clock: Clock,
        denials: Denials | None = None,
    ) -> None:
        self._denials = denials
        self._approvals = approvals
        self._executions = executions
        self._access = access
        self._voters = voters
        self._publisher = publisher
        self._topics = topics
        self._clock = clock

    async def answer(self, given: Answer, actor: Actor) -> Approval | ApprovalError:
        """Write an answer.

        Args:
            given: what is said.
            actor: who says it; its identity was checked by the surface.

        Returns:
            The approval after the answer, or why the answer does not count.

        Raises:
            Temporary: the store is away; nothing was written.
        """
        approval = await self._approvals.get(given.approval_id)
        if approval is None:
            return ApprovalError(ApprovalProblem.UNKNOWN, f"there is no approval {given.approval_id}")
        record = await self._executions.load(approval.execution_id)
        scope, now = scope_of(record) if record else Scope(), self._clock.now()
        voter = await self._voters.voter(actor, scope, now)
        problem = self._denied(actor, given.verb, scope) or (
            no_bypass(approval, given.choice, voter) if given.verb is Verb.BYPASS else ""
        )
        if problem:
            log.warning("approval.not_allowed", approval_id=approval.id, actor=actor.key, why=problem)
            await self._tell_denied(given, actor, approval, problem)
            return ApprovalError(ApprovalProblem.NOT_ALLOWED, problem, approval.status)
        answered = await self._approvals.answer(
            given.approval_id,
            given.verb,
            by=actor.person,
            reason=given.reason,
            now=now,
            plan_hash=given.plan_hash,
            choice=bypass_named(approval, given.choice) if given.verb is Verb.BYPASS else given.choice,
            voter=voter,
        )
        facts = {"approval_id": approval.id, "actor": actor.key, "surface": given.surface, "verb": given.verb.value}
        if isinstance(answered, ApprovalError):
            log.info("approval.answer_refused", **facts, problem=answered.problem.value, why=answered.message)
            if answered.problem in _DENIED:
                await self._tell_denied(given, actor, approval, answered.message)
            return answered
        log.info("approval.answer_taken", **facts, by=actor.person, status=answered.status.value)
        reach(Failpoint.ANSWER_RECORDED, answered.execution_id)
        await self._wake(answered, record.plan.target_key if record else answered.execution_id)
        return answered

    async def _tell_denied(self, given: Answer, actor: Actor, approval: Approval, why: str) -> None:
        """Put on record who tried what. What was said stays out: nobody asked for it."""
        if self._denials is None:
            return
        entry = f"{given.surface} {given.verb.value}".strip()
        facts = {"person": actor.person, "approval": approval.id, "plan_hash": given.plan_hash, "choice": given.choice}
        about = {"incident_id": approval.incident_id, "execution_id": approval.execution_id}
        await self._denials.tell(Try(entry, actor.key, why, facts, **about))

    def _denied(self, actor: Actor, verb: Verb, scope: Scope) -> str:
        """Why the actor may not answer; empty when it may."""
        if actor.claimed or not actor.person or actor.person == actor.key:
            return f"{actor} is not tied to a person"
        if verb is Verb.BYPASS:
            # Never open to whoever a surface knows: it has to be given by name.
            answer = self._access.may(actor, Permission.APPROVALS_BYPASS, scope)
            return answer.reason if isinstance(answer, Denied) else ""
        if not self._access.configured:
            return ""
        answer = self._access.may(actor, Permission.APPROVALS_RESPOND, scope)
        return answer.reason if isinstance(answer, Denied) else ""

    async def _wake(self, approval: Approval, target_key: str) -> None:
        try:
            message = approval_message(approval, target_key, self._topics, self._clock.now())
            await self._publisher.publish([message])
        except Exception as error:  # noqa: BLE001 - the answer is on record: whatever keeps Kafka away is only a delay
            log.warning("approval.not_announced", approval_id=approval.id, error=str(error))
