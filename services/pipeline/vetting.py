"""What is asked of a runbook beside the gate's own checks: was it reviewed, and has it the rights that it needs."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping

from executor.errors import Forbidden
from executor.model import Plan
from executor.reasons import leaves
from runbooks.model import LoadedRunbook
from safety.model import Refusal
from services.pipeline.reviewing import nobody_asks, refusal_of, refusal_of_called
from services.signing.reviewed import WhyNot

MISSING_RIGHT = "missing_right"
"""The API server would not let the plan's account make one of its writes."""

MissingRight = Callable[[Plan], Awaitable[Refusal | None]]
"""The refusal of a plan whose account lacks a right; None when it has all that can be known in advance."""


UNKEPT_SECRET = "unkept_secret"  # noqa: S105 - the name of a check
"""The plan holds a secret, and there is no key that could encrypt it where it is kept."""

Keepable = Callable[[str], bool]
"""Whether JSON may be stored."""


def all_keepable(text: str) -> bool:  # noqa: ARG001 - shape of Keepable
    """Nobody asks."""
    return True


async def not_asked(plan: Plan) -> Refusal | None:  # noqa: ARG001 - shape of MissingRight
    """Nobody asks the API server about rights."""
    return None


class Vetting:
    """Says no before the gate is asked.

    Args:
        unreviewed: why a runbook may not be executed for want of a review.
        missing_right: asked once there is a plan.
        keepable: whether a plan may be stored as it is.
    """

    def __init__(
        self,
        unreviewed: WhyNot = nobody_asks,
        missing_right: MissingRight = not_asked,
        keepable: Keepable = all_keepable,
    ) -> None:
        self._unreviewed = unreviewed
        self._missing_right = missing_right
        self._keepable = keepable

    def before(self, loaded: LoadedRunbook) -> Refusal | None:
        """Before there is a plan: nothing of a runbook that nobody has reviewed is planned."""
        return refusal_of(loaded, self._unreviewed)

    async def after(self, plan: Plan, known: Mapping[str, LoadedRunbook]) -> Refusal | None:
        """Once it is known what the plan calls and writes; ``known`` are the runbooks in force."""
        refusal = refusal_of_called(plan, known, self._unreviewed) or self._unkept(plan)
        return refusal or await self._missing_right(plan)

    def _unkept(self, plan: Plan) -> Refusal | None:
        if self._keepable is all_keepable or self._keepable(plan.model_dump_json()):
            return None
        where = [f"step {step.name!r}" for step in leaves(plan.steps) if not self._keepable(step.model_dump_json())]
        held = " and ".join(where) or "what is known of the incident"
        why = f"the plan would keep a secret in clear text ({held}); secrets.encryption names the key that encrypts it"
        return Refusal(UNKEPT_SECRET, why, {"runbook": plan.runbook_id})


NO_VETTING = Vetting()
"""Nothing is asked."""


def denied(error: BaseException, runbook_id: str) -> Refusal | None:
    """The refusal of a runbook whose plan met a missing right: the server is asked about some writes while planning."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, Forbidden):
        cause = cause.__cause__
    if cause is None:
        return None
    found = _DENIED.search(str(cause))
    numbers = {name: value or "" for name, value in found.groupdict().items()} if found else {}
    return Refusal(MISSING_RIGHT, f"{error}; what it needs: rb rbac needed {runbook_id}", numbers)


_DENIED = re.compile(
    r'cannot (?P<verb>[a-z]+) resource "(?P<resource>[^"]+)" in API group "[^"]*"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)
"""How the API server says which right is missing."""
