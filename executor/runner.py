"""Running a plan: steps, proof, and when there is none, the way back.

The entry point takes a Permit: running something that the gate has not seen is a type error.
"""

from __future__ import annotations

from executor.actions.base import ActionTable, Redact, World
from executor.book import Stopping
from executor.errors import NotPermitted
from executor.flow import Flow, Tools
from executor.model import ExecutionRecord, Status
from executor.notify import Keeps
from executor.ports import Clock, FreshSignals, Guard, Hooks, Journal
from executor.settings import ExecutorSettings
from safety.approvals import ApprovalStore
from safety.model import Permit


class Executor:
    """Runs permitted executions, any number at once.

    Args:
        actions: by name and alias.
        world: the ports that actions act through.
        journal: the durable memory.
        guard: asked before each step whether it may start.
        clock: time.
        hooks: hear what happens: ``execution.started``, ``step.started``, ``step.finished``,
            ``execution.verifying``, ``execution.rolling_back``, ``rollback.finished``, ``execution.finished``.
        fresh: signals that came after the steps.
        settings: knobs.
        redact: takes secrets out of outputs and errors before they are stored.
        approvals: where humans are asked about steps; without it every such question is answered with no.
        keeps: see ``executor.notify.Notifier``.
    """

    def __init__(
        self,
        *,
        actions: ActionTable,
        world: World,
        journal: Journal,
        guard: Guard,
        clock: Clock,
        hooks: Hooks,
        fresh: FreshSignals,
        settings: ExecutorSettings | None = None,
        redact: Redact = lambda text: text,
        approvals: ApprovalStore | None = None,
        keeps: Keeps | None = None,
    ) -> None:
        self._tools = Tools(
            actions=actions,
            world=world,
            journal=journal,
            guard=guard,
            clock=clock,
            hooks=hooks,
            fresh=fresh,
            settings=settings or ExecutorSettings(),
            redact=redact,
            stopping=Stopping(),
            approvals=approvals,
            keeps=keeps,
        )

    def stop(self) -> None:
        """Let current steps finish; then each run raises HandedOver and stays where it is for the next holder."""
        self._tools.stopping.asked = True

    async def run(self, permit: Permit, record: ExecutionRecord) -> ExecutionRecord:
        """Run a permitted execution to its end, or take over one that another holder left.

        Args:
            permit: the gate's leave for exactly this execution and plan; its token is the epoch of every write.
            record: as the journal has it.

        Returns:
            The ended execution.

        Raises:
            NotPermitted: the permit is for something else, or the execution is not running. Nothing was written.
            HandedOver: ``stop`` was called; the execution is still running for the journal.
            LeaseLost, Fenced: somebody else holds the target; nothing more was written.
        """
        if (permit.execution_id, permit.plan_hash) != (record.id, record.plan.hash):
            raise NotPermitted(f"the permit of {permit.execution_id} is not for execution {record.id} with this plan")
        if record.status not in (Status.RUNNING, Status.VERIFYING, Status.ROLLING_BACK):
            raise NotPermitted(f"execution {record.id} is {record.status} and cannot be run")
        return await Flow(permit, record, self._tools).to_the_end()
