"""What must hold after any number of crashes, told from what was seen from outside. Values in, violations out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be.

    Attributes:
        invariant: its number, or what else was promised.
        about: the event, execution or target.
        what: in words.
    """

    invariant: str
    about: str
    what: str

    def __str__(self) -> str:
        return f"[{self.invariant}] {self.about}: {self.what}"


@dataclass(frozen=True, slots=True)
class Effect:
    """What an execution did to the world, counted there.

    Attributes:
        made: how often.
        allowed: how often it may have been, given what is on record of the step.
        step: status of the step on record; empty when nobody has written that it was meant to be.
    """

    event: str
    kind: str
    made: int
    allowed: Collection[int]
    step: str


@dataclass(frozen=True, slots=True)
class Ran:
    """An execution on record.

    Attributes:
        epochs: of what was written about it, in the order of writing.
    """

    id: str
    event: str
    status: str
    outcome: str = ""
    epochs: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that was seen from outside, after the dust has settled.

    Attributes:
        inputs: events that were sent, each once.
        decisions: ids on record, by event.
        published: decision ids on Kafka, by event.
        effects: counted at the targets.
        ran: executions.
        unreleased: executions that ended, and of whose end the gate does not know: their targets have no cooldown.
        locks: targets that somebody still holds in Redis.
        claims: targets that somebody still holds in the graph.
        open_questions: approvals that still wait.
        committed: events without a decision whose offsets are committed all the same: nobody will read them again.
        trail: what is wrong with the audit trail.
        dead_letters: what landed in the DLQ, though everything was readable.
    """

    inputs: Sequence[str]
    decisions: Mapping[str, Sequence[str]]
    published: Mapping[str, Collection[str]]
    effects: Sequence[Effect] = ()
    ran: Sequence[Ran] = ()
    unreleased: Sequence[str] = ()
    locks: Sequence[str] = ()
    claims: Sequence[str] = ()
    open_questions: Sequence[str] = ()
    committed: Sequence[str] = ()
    trail: Sequence[str] = ()
    dead_letters: Sequence[str] = field(default=())


def violations(seen: Seen) -> list[Violation]:
    """Everything that must not be."""
    return [*_inputs(seen), *_effects(seen), *_ran(seen), *_left(seen)]


def _inputs(seen: Seen) -> Iterator[Violation]:
    for event in seen.inputs:
        recorded = seen.decisions.get(event, ())
        if not recorded:
            lost = event in seen.committed
            what = (
                "the input is lost: its offset is committed" if lost else "it is still not decided, and waits in Kafka"
            )
            yield Violation("2" if lost else "7", event, f"{what}; no decision is on record")
        elif len(recorded) > 1:
            yield Violation("7", event, f"{len(recorded)} decisions instead of one: {', '.join(recorded)}")
        told = set(seen.published.get(event, ()))
        if recorded and not told & set(recorded):
            yield Violation("7", event, "its decision was never published")
        if strange := sorted(told - set(recorded)):
            yield Violation("7", event, f"published, but not on record: {', '.join(strange)}")
    for letter in seen.dead_letters:
        yield Violation("7", letter, "a readable input became a dead letter")


def _effects(seen: Seen) -> Iterator[Violation]:
    for effect in seen.effects:
        if effect.made and not effect.step:
            yield Violation("3", effect.event, f"{effect.kind}: an effect without an intent on record")
        elif effect.made not in effect.allowed:
            allowed = " or ".join(str(number) for number in sorted(effect.allowed))
            yield Violation(
                "3",
                effect.event,
                f"{effect.kind}: {effect.made} times, with step {effect.step or '-'}; may be {allowed}",
            )


def _ran(seen: Seen) -> Iterator[Violation]:
    for run in seen.ran:
        if run.status != "done":
            yield Violation("terminal", run.id, f"the execution is stuck: {run.status} ({run.event})")
        fallen = [(before, after) for before, after in zip(run.epochs, run.epochs[1:], strict=False) if after < before]
        for before, after in fallen:
            yield Violation("4", run.id, f"a holder of epoch {after} wrote after one of epoch {before}")


def _left(seen: Seen) -> Iterator[Violation]:
    for execution in seen.unreleased:
        yield Violation("4", execution, "the gate was never told of its end: its target has no cooldown")
    for target in seen.locks:
        yield Violation("4", target, "the lock in Redis is still held")
    for target in seen.claims:
        yield Violation("4", target, "the claim in the graph is still held")
    for question in seen.open_questions:
        yield Violation("terminal", question, "the question is still open, and nobody needs its answer")
    for problem in seen.trail:
        yield Violation("11", "audit trail", problem)
