"""Whether a failed attempt is followed by another, and when. A decision, not a sleep."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from executor.errors import Conflict, StepFailed, Temporary
from executor.model import RetryPolicy
from executor.settings import ExecutorSettings
from runbooks.model import RetryOn


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt, after a pause."""

    pause_seconds: float


def kind_of(error: BaseException) -> RetryOn | None:
    """The class of an error; None for one that no retry may be asked for (a refused object, a missing right)."""
    if isinstance(error, TimeoutError):
        return RetryOn.TIMEOUT
    if isinstance(error, Conflict):
        return RetryOn.CONFLICT
    if isinstance(error, Temporary):
        return RetryOn.TEMPORARY
    return RetryOn.FAILED if isinstance(error, StepFailed) else None


def after_attempt(
    policy: RetryPolicy | None, settings: ExecutorSettings, kind: RetryOn | None, attempt: int, seed: str
) -> Again | None:
    """What follows attempt number ``attempt``, the first being 1.

    Errors that the author names follow the author's policy. Others that pass by themselves (temporary, conflict) are
    tried as often as the transport allows, so that a ``retry`` for one class takes nothing from the rest.

    Args:
        policy: the step's own; None when it has none.
        settings: attempts of the transport.
        kind: of the error.
        attempt: number of the attempt that failed.
        seed: what the jitter comes from: the same run backs off alike in every process, different runs differ.

    Returns:
        The pause before the next attempt, or None when there is none.
    """
    if policy is not None and kind in policy.on:
        return Again(_pause(policy, attempt, seed)) if attempt < policy.attempts else None
    if kind in (RetryOn.TEMPORARY, RetryOn.CONFLICT) and attempt < settings.attempts:
        return Again(settings.backoff_seconds * 2.0 ** (attempt - 1))
    return None


def share(policy: RetryPolicy | None, left_seconds: float, attempt: int) -> float:
    """How long one attempt may take: when timeouts are retried, its share of what is left of the step's time."""
    if policy is None or RetryOn.TIMEOUT not in policy.on:
        return left_seconds
    return left_seconds / max(1, policy.attempts - attempt + 1)


def _pause(policy: RetryPolicy, attempt: int, seed: str) -> float:
    longest = policy.max_backoff_seconds
    try:
        plain = min(longest, policy.backoff_seconds * policy.factor ** (attempt - 1))
    except OverflowError:
        plain = longest
    return plain * (1 - policy.jitter + 2 * policy.jitter * _fraction(f"{seed}/{attempt}"))


def _fraction(seed: str) -> float:
    """A number from 0 to 1 that only the seed decides."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:6]) / 2**48
