"""What is proposed to the gate, and the names of the answers that pass with time."""

from __future__ import annotations

from dataclasses import dataclass

from executor.model import Plan
from matcher.fingerprint import execution_id
from matcher.model import Match
from safety.axes import LIMIT_CHECKS
from safety.model import GateRequest, GrantedApproval
from services.pipeline.cases import Located
from services.pipeline.ruling import PASSING, Ruling
from services.pipeline.vetting import MISSING_RIGHT, UNKEPT_SECRET

UNREACHABLE = "unreachable"
"""What the plan had to ask did not answer: no plan for now."""

BLAST_UNKNOWN = "blast_radius_unknown"
"""One of the two sources could not count; it may know, or answer, later."""

NOT_COUNTED = "the graph cannot count the blast radius"
"""Why a human is asked where the operator prefers that to a refusal."""

AROUND_CHECKS = frozenset({"freeze", "disabled", "gitops", "disruption_budget"})
"""Checks of what surrounds a plan, which no record holds."""

GITOPS_UNKNOWN = "gitops_unknown"
"""Nobody could tell who keeps an object."""

LABELS_UNKNOWN = "labels_unknown"
"""The labels of an object could not be read, and some are protected."""

PRECONDITION = "precondition"
"""A precondition does not hold now."""

SKIPPED = "skipped"
"""A precondition says that the runbook has nothing to do here."""

TEMPORARY_CHECKS = frozenset(
    {
        *("pause", "storm", "cooldown", "lock", "blast_share"),
        *LIMIT_CHECKS,
        *("graph_age", "blast_share_workload", "blast_share_namespace", "blast_share_cluster"),
        *AROUND_CHECKS - {"gitops"},
        GITOPS_UNKNOWN,
        *(UNREACHABLE, BLAST_UNKNOWN, LABELS_UNKNOWN, PRECONDITION, SKIPPED),
        *PASSING,
        MISSING_RIGHT,
        UNKEPT_SECRET,
    }
)
"""Checks whose no passes with time."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the gate will be asked about.

    Attributes:
        number: id of the decision.
        attempt: counts from 1; of the incident's executions.
        approval: a human's yes to an earlier plan of the same execution.
        same_as: the execution that waits for the answer; a runbook that changed meanwhile does not make it another.
        ruling: what policies and the ladder of autonomy say; None before they were asked.
    """

    located: Located
    match: Match
    number: str
    attempt: int
    approval: GrantedApproval | None = None
    same_as: str = ""
    ruling: Ruling | None = None

    @property
    def execution_id(self) -> str:
        """Derived, so that asking again meets the same reservation."""
        return self.same_as or execution_id(self.match.incident.id, self.match.runbook.sha, self.attempt)


@dataclass(frozen=True, slots=True)
class Planned:
    """A proposal with its plan and the gate's question."""

    proposal: Proposal
    plan: Plan
    request: GateRequest
