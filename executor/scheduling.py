"""Running the steps of a phase: each when all that it waits for has ended, side by side where nothing forbids."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from executor.asking import Asker
from executor.book import Book
from executor.consequences import Decision, Standing
from executor.crew import Crew, Halt
from executor.lifecycle import Next
from executor.model import PlannedStep
from executor.phases import GO_ON, STEP, beside, procedure_phase
from executor.steps import Steps
from executor.timing import overdue

Allowed = Callable[[], Awaitable[None]]
"""Returns when the next step may start."""

Refuses = Callable[[PlannedStep], Awaitable[str]]
"""Why a step must not start any more; empty when it may."""


class Scheduler:
    """Runs the steps of one execution.

    What follows from what has ended is told from the journal alone, so that whoever takes over decides alike.

    Args:
        steps: runs single steps.
        halt: brings running steps to rest; the same that ``steps`` looks at.
        allowed: asked before each step that starts.
        refuses: asked next; a reason ends the execution as it stands.
    """

    def __init__(
        self, steps: Steps, book: Book, asker: Asker, halt: Halt, *, allowed: Allowed, refuses: Refuses
    ) -> None:
        self._steps = steps
        self._book = book
        self._asker = asker
        self._halt = halt
        self._allowed = allowed
        self._refuses = refuses
        self._refused = ""

    @property
    def refused(self) -> str:
        """Why the steps were stopped from outside: the time is over, or a precondition no longer holds."""
        return self._refused

    async def run(self, phase: str = STEP) -> Decision:
        """Run the steps of a phase to their end.

        Returns:
            What follows: ``go_on`` when all are done, else why they stopped; everything is at rest then.

        Raises:
            Stop: the execution must not go on here.
        """
        crew = Crew(self._halt)
        try:
            while True:
                decision = Standing(self._book.record, phase).decision()
                if decision.next is Next.GO_ON:
                    decision = self._overdue()
                if decision.next is not Next.GO_ON:
                    stopped = await self._stopped(crew, phase)
                    if stopped is not None:
                        return stopped
                elif not await self._advance(crew, phase):
                    return Decision(Next.ABORT) if self._refused else Decision()
        except BaseException as error:
            await crew.leave(error)
            raise

    async def _advance(self, crew: Crew, phase: str) -> bool:
        """Start what can start, then wait until something has ended; False when nothing is left to do."""
        await self._skip_needless(phase)
        for step in self._startable(crew, phase):
            if len(crew) >= self._book.record.plan.max_parallel or not crew.idle():
                break
            if self._book.found(phase, step.index) is None:
                await self._allowed()
                if not crew.idle():
                    break  # something ended while we waited, and may have changed what follows
                if refused := await self._refuses(step):
                    return await self._refuse(crew, refused)
            crew.start(self._key(phase, step), self._steps.run(step, phase))
        if not len(crew):
            return False
        await crew.one()
        return True

    async def _refuse(self, crew: Crew, why: str) -> bool:
        await self._rest(crew)
        self._refused = why
        return False

    def _startable(self, crew: Crew, phase: str) -> list[PlannedStep]:
        """What a crashed holder left first, then what is ready, in the order of the list."""
        standing = Standing(self._book.record, phase)
        waiting = [*standing.begun(), *standing.ready()]
        return [step for step in waiting if self._key(phase, step) not in crew]

    async def _skip_needless(self, phase: str) -> None:
        needless = list(Standing(self._book.record, phase).needless())
        for step, why in needless:
            if step.role != "leave":
                await self._steps.skip(step, phase, why)

    async def _stopped(self, crew: Crew, phase: str) -> Decision | None:
        """Bring everything to rest and do what comes before the end; None when the steps go on after it."""
        await self._rest(crew)
        for step in Standing(self._book.record, phase).begun():
            await self._at_rest(step, phase)
        decision = Standing(self._book.record, phase).decision()
        if decision.next is Next.GO_ON:
            decision = self._overdue()
        if decision.step is not None and decision.next is Next.RUN:
            inner = await self.run(procedure_phase(decision.step.index))
            return inner if self._refused else None
        if decision.step is not None and decision.next is Next.APPROVE:
            await self._ask(decision, phase)
            return None
        return decision if decision.next is not Next.GO_ON else None

    async def _rest(self, crew: Crew) -> None:
        self._halt.asked = True
        try:
            await crew.rest()
        finally:
            self._halt.asked = False

    async def _at_rest(self, step: PlannedStep, phase: str) -> None:
        """A step that a crashed holder left: it gets its outcome, and is not begun again."""
        self._halt.asked = True
        try:
            await self._steps.run(step, phase)
        finally:
            self._halt.asked = False

    async def _ask(self, decision: Decision, phase: str) -> None:
        step, run = decision.step, decision.run
        if step is not None and run is not None:
            reasons = [f"step {step.name!r} failed: {run.error}", "go on without it? A no, or silence, rolls back"]
            await self._asker.ask(step, beside(GO_ON, phase), reasons)

    def _overdue(self) -> Decision:
        why = overdue(self._book.record, self._book.now())
        self._refused = why or self._refused
        return Decision(Next.ROLL_BACK) if why else Decision()

    def _key(self, phase: str, step: PlannedStep) -> str:
        return self._book.run_id(phase, step)
