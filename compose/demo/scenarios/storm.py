"""(6) One alert a thousand times, each delivery under a new id; one execution."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar
from uuid import uuid4

from compose.demo.errors import DemoFailed
from compose.demo.kgroot import Event
from compose.demo.messages import vector_event
from compose.demo.record import Decision
from compose.demo.scenarios.base import Told
from compose.demo.scenarios.oom import FIXED, OutOfMemory, doubled_once, oom_events
from compose.demo.scene import Scene, hold

REPEATS = 1000
_WAVES = 4
_PATIENCE = 30.0


class Storm(OutOfMemory):
    """The alerts come as Vector writes them: with the alert's fingerprint, which is all that they share."""

    key: ClassVar[str] = "storm"
    title: ClassVar[str] = "1,000 repeats, one execution"
    app: ClassVar[str] = "orders"
    told: ClassVar[Told] = FIXED

    async def tell(self, scene: Scene) -> None:
        """KGroot writes an event for each delivery, and links each."""
        await self._let_others_begin(scene)
        cause, first = await oom_events(scene, self.app)
        repeats = [first, *(_again(first) for _ in range(REPEATS - 1))]
        await scene.kgroot.events([cause, *repeats])
        await scene.kgroot.link(cause, repeats, domain=0.95)
        bodies = [(one.eid, vector_event(one, scene.run.tenant, first.at)) for one in repeats]
        size = REPEATS // _WAVES
        sent = [await scene.wire.send("events", bodies[at : at + size], "lz4") for at in range(0, REPEATS, size)]
        self.told_at = self.rca_at = sent[0]

    async def _let_others_begin(self, scene: Scene) -> None:
        """Beside a storm on the same two cores, the times of the others would say nothing about them."""

        async def look() -> tuple[bool | None, object]:
            others = [key for key in scene.board.undecided() if key != self.key]
            return (None if others else True), others

        # Not being decided is their failure, to be told by them.
        with suppress(DemoFailed):
            await scene.until("the other incidents to be decided", look, seconds=_PATIENCE)

    async def check(self, scene: Scene, decision: Decision) -> None:
        """One change of the Deployment, and every delivery counted."""
        await doubled_once(scene, self.app, self.generation)

        async def look() -> tuple[bool | None, object]:
            inputs = sum(one.inputs for one in scene.recorder.known() if self._is_mine(scene, one))
            return (True if inputs == REPEATS else None), f"{inputs} of {REPEATS} deliveries on record"

        await scene.until("every delivery to be on record", look, seconds=20)
        kept = [one for one in scene.recorder.known() if self._is_mine(scene, one)]
        told = "; ".join(f"{one.kind} {one.check} ({one.inputs} inputs): {one.message}" for one in kept)
        hold(len(kept) == 1, f"{len(kept)} decisions about one problem: {told}")


def _again(event: Event) -> Event:
    return replace(event, eid=str(uuid4()), at=datetime.now(UTC))
