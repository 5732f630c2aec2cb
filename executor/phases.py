"""The parts of an execution's life that steps run in; each run of a step is named after its own.

=====================  ====================================================================
``step``               the runbook's steps
``procedure.<index>``  the procedure that ran because the step with this index failed
``rollback``           steps that take back
``undo``               the inverse of a step; ``undo.procedure.<index>`` of one of a procedure
``approval``           the question before a step
``go_on``              the question after a failed step
=====================  ====================================================================
"""

from __future__ import annotations

STEP = "step"
ROLLBACK = "rollback"
UNDO = "undo"
APPROVAL = "approval"
GO_ON = "go_on"
_PROCEDURE = "procedure."


def procedure_phase(index: int) -> str:
    """Where the steps run that follow the failure of a step."""
    return f"{_PROCEDURE}{index}"


def failed_index(phase: str) -> int | None:
    """The index of the step whose failure a procedure follows; None for another phase."""
    return int(phase.removeprefix(_PROCEDURE)) if phase.startswith(_PROCEDURE) else None


def is_forward(phase: str) -> bool:
    """Whether its steps make changes that a rollback takes back."""
    return phase == STEP or phase.startswith(_PROCEDURE)


def is_backward(phase: str) -> bool:
    """Whether its steps take changes back."""
    return phase in (ROLLBACK, UNDO) or phase.startswith(f"{UNDO}.")


def is_question(phase: str) -> bool:
    """Whether a human is asked."""
    return phase in (APPROVAL, GO_ON) or phase.startswith((f"{APPROVAL}.", f"{GO_ON}."))


def beside(kind: str, phase: str) -> str:
    """The phase of an undo or a question about a step of ``phase``; for the runbook's own steps the kind alone."""
    return kind if phase == STEP else f"{kind}.{phase}"
