"""The ports between asking and the places where people are asked: Slack now, others later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from executor.errors import Unavailable
from safety.approvals import Approval
from services.approvals.facts import Question
from services.approvals.progress import Progress


class ComeBackLater(Unavailable):
    """The surface takes nothing for a while. ``seconds`` is how long, as it said; 0 when it did not say."""

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a message stands on its surface.

    Attributes:
        channel: the surface's own id of the room.
        message: its own id of the message.
        thread: id of the message that the thread of the incident hangs on; the message itself where it is the first.
    """

    channel: str
    message: str
    thread: str = ""


class Surface(Protocol):
    """A place where people are asked. Raises ``Temporary`` when it is away, ``Permanent`` when it refuses."""

    name: str

    async def ask(self, question: Question, root: Spot | None) -> Spot:
        """Put a question there.

        Args:
            question: with all its facts.
            root: the first message about the same incident, if there is one.
        """
        ...

    async def show(self, spot: Spot, question: Question) -> None:
        """Bring the message of a question up to date: somebody answered, it expired, or it was overtaken."""
        ...

    async def tell(self, spot: Spot, progress: Progress, known: str) -> str:
        """Tell how the execution gets on, in the thread of its incident.

        Args:
            spot: of the question.
            progress: as it stands.
            known: id of the message that tells it already; empty for none.

        Returns:
            The id of the message that tells it now.
        """
        ...

    async def end(self, spot: Spot, progress: Progress) -> None:
        """Say in the thread how it ended."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """A question that was put on a surface, and what has become of it since.

    Attributes:
        shown: the state of the approval that the message shows.
        told: id of the message that tells the progress; empty for none.
        told_state: the state of the execution that it tells.
        state: the state of the execution now; changes whenever there is something to tell.
        ended: whether the execution is done.
    """

    approval: Approval
    spot: Spot
    shown: str
    told: str = ""
    told_state: str = ""
    state: str = ""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """What a message tells by now; what is None stays as it is.

    Attributes:
        over: nothing more will be told.
    """

    shown: str | None = None
    told: str | None = None
    told_state: str | None = None
    over: bool = False


class Places(Protocol):
    """Remembers where questions stand, so that a restart finds them again, and that only one process writes there."""

    async def unasked(self, surface: str, limit: int) -> Sequence[Approval]:
        """Open questions that were not put on the surface yet, and that nobody is about to put there."""
        ...

    async def standing(self, surface: str, limit: int) -> Sequence[Standing]:
        """Questions on the surface of which there may be something to tell, oldest first."""
        ...

    async def claim(self, surface: str, approval: Approval, holder: str, seconds: float) -> bool:
        """Take the right to write about a question; False while somebody else has it."""
        ...

    async def root(self, surface: str, incident_id: str) -> Spot | None:
        """The first message about an incident."""
        ...

    async def asked(self, surface: str, approval: Approval, holder: str, spot: Spot, shown: str) -> None:
        """A question was put there. Gives the right back."""
        ...

    async def showed(self, surface: str, approval: Approval, holder: str, shown: Shown) -> None:
        """What the messages tell now. Gives the right back."""
        ...
