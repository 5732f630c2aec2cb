"""How the executor behaves, apart from what a runbook says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """Knobs of the executor; the defaults suit production.

    Attributes:
        pause_poll_seconds: how often a paused execution asks whether it may go on.
        attempts: how often a step that failed temporarily is tried, the first time included.
        backoff_seconds: wait before the second try; doubles with each further one.
        recover_timeout_seconds: for asking a target what happened.
        journal_retry_seconds: wait between tries while the journal is away.
        output_limit: most characters of a step's output, as JSON, that are kept.
        restore_timeout_seconds: how long to watch the target recover after a rollback.
        poll_first_seconds: first wait between two looks at the target while verifying; each is longer.
        poll_longest_seconds: the longest such wait.
        approval_poll_seconds: how often a step that waits for a human looks for the answer.
        approval_timeout_seconds: longest wait for a human; a runbook may ask for less, 0 for as long as it says.
        recovered_seconds: a target that was unwell when it was decided has recovered when nothing of it died for so
            long; then the first change is not made.
        revalidate: whether the target is looked at before each write; off only for replays, which have no cluster.
        asked_elsewhere: channels of notifications on which questions are asked in another way than by ``on_approval``.
    """

    pause_poll_seconds: float = 1.0
    attempts: int = 3
    backoff_seconds: float = 0.5
    recover_timeout_seconds: float = 10.0
    journal_retry_seconds: float = 1.0
    output_limit: int = 65_536
    restore_timeout_seconds: float = 60.0
    poll_first_seconds: float = 0.5
    poll_longest_seconds: float = 5.0
    approval_poll_seconds: float = 1.0
    approval_timeout_seconds: float = 0.0
    recovered_seconds: float = 300.0
    revalidate: bool = True
    asked_elsewhere: frozenset[str] = frozenset()
