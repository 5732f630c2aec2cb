"""The limits of one question: what the store compares in each of its buckets, and how long a target cools down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from safety.axes import AXES, WINDOWS, Axis, Bucket, Place, buckets_of, namespaces_of, rate_check
from safety.model import GateRecord, GateRequest, Limits
from safety.policy import PolicySettings, in_force


@dataclass(frozen=True, slots=True)
class Count:
    """At most so many executions within a time.

    Attributes:
        check: the name of its no; empty where the answer is the question for a human.
    """

    check: str
    limit: int
    within_seconds: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds in one bucket; None for no limit.

    Attributes:
        concurrent: most executions at the same time.
        blast: most resources that all executions in flight affect together.
        asks: with so many executions already, a human is asked.
    """

    bucket: Bucket
    rates: tuple[Count, ...] = ()
    concurrent: int | None = None
    blast: int | None = None
    asks: Count | None = None


class _Own(NamedTuple):
    """What a runbook limits in the store; the names are those of ``Limits``."""

    max_executions_per_minute: int | None
    max_executions_per_hour: int
    max_executions_per_day: int | None
    max_concurrent: int | None
    ask_again_after: int | None
    ask_again_seconds: float


class _OnAxis(NamedTuple):
    """What holds in every bucket of an axis; as in ``Bounds``."""

    rates: tuple[Count, ...]
    concurrent: int | None
    blast: int | None
    asks: Count | None


def place_of(asked: GateRequest | GateRecord) -> Place:
    """Where an execution is counted."""
    namespaces = namespaces_of(asked.cluster, asked.target_key, asked.namespaces)
    return Place(asked.tenant, asked.cluster, asked.runbook_id, namespaces)


def bounds(request: GateRequest, settings: PolicySettings) -> tuple[Bounds, ...]:
    """The limits of a question, one for each bucket, in the order of ``buckets_of``.

    Args:
        request: with the limits of its runbook and, where policies resolved others, the policy in force.
        settings: the gate's own limits. Of runbook and policy the stricter counts.
    """
    policy = in_force(request, settings)
    answered = request.approval is not None and request.approval.plan_hash == request.plan_hash
    limits = request.limits
    own = _Own(
        limits.max_executions_per_minute,
        limits.max_executions_per_hour,
        limits.max_executions_per_day,
        limits.max_concurrent,
        limits.ask_again_after,
        limits.ask_again_seconds,
    )
    found = _by_axis(own, policy, answered=answered)
    buckets = buckets_of(place_of(request), request.target_key)
    return tuple(Bounds(bucket, *found[bucket.axis.name]) for bucket in buckets)


@lru_cache(maxsize=1024)
def _by_axis(own: _Own, policy: PolicySettings, *, answered: bool) -> Mapping[str, _OnAxis]:
    """By the name of the axis. Remembered, because runbooks and policies are few and questions are many."""
    return {axis.name: _on_axis(axis, own, policy, answered=answered) for axis in AXES}


def _on_axis(axis: Axis, limits: _Own, policy: PolicySettings, *, answered: bool) -> _OnAxis:
    rates = tuple(_rates(axis, limits, policy)) if axis.rated else ()
    asks = None if answered else _asks(axis, limits, policy)
    if not axis.live:
        return _OnAxis(rates, None, None, asks)
    concurrent = _stricter(
        getattr(policy, f"{axis.name}_concurrent"), limits.max_concurrent if axis.name == "runbook" else None
    )
    return _OnAxis(rates, concurrent, getattr(policy, f"{axis.name}_blast_in_flight", None), asks)


def _rates(axis: Axis, limits: _Own, policy: PolicySettings) -> list[Count]:
    own: Mapping[str, int | None] = {}
    if axis.name == "runbook":
        # With a rate of 0 it never runs by itself; each of its runs was answered by a human, and that is its limit.
        own = {
            "minute": limits.max_executions_per_minute or None,
            "hour": limits.max_executions_per_hour or None,
            "day": limits.max_executions_per_day or None,
        }
    found = []
    for window, seconds in WINDOWS.items():
        limit = _stricter(_of_policy(axis, window, policy), own.get(window))
        if limit is not None:
            within = policy.rate_window_seconds if window == "hour" else seconds
            found.append(Count(rate_check(axis.name, window), limit, within))
    return found


def _of_policy(axis: Axis, window: str, policy: PolicySettings) -> int | None:
    if (axis.name, window) == ("cluster", "hour"):
        return policy.max_executions_per_hour_total
    limit: int | None = getattr(policy, f"{axis.name}_per_{window}")
    return limit


def _asks(axis: Axis, limits: _Own, policy: PolicySettings) -> Count | None:
    if axis.name == "repeat" and limits.ask_again_after is not None:
        return Count("", limits.ask_again_after, limits.ask_again_seconds)
    if axis.name == "target" and policy.ask_again_after is not None:
        return Count("", policy.ask_again_after, policy.ask_again_seconds)
    return None


def _stricter(one: int | None, other: int | None) -> int | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)


def remembered_seconds(limits: Limits, policy: PolicySettings) -> float:
    """For how long an execution has to be known, so that a human is asked in time after the store was emptied."""
    own = limits.ask_again_seconds if limits.ask_again_after is not None else 0
    return max(own, policy.ask_again_seconds if policy.ask_again_after is not None else 0)


OUTCOMES = ("success", "failure", "rollback", "not_fixed", "inconclusive")
"""What a target cools down after."""


def cooldowns(limits: Limits, policy: PolicySettings) -> Mapping[str, float]:
    """How long a target cools down, in seconds, by how its execution ended.

    What the runbook says of an outcome counts; where it says nothing, the longer of its cooldown and the policy's for
    the outcome. Never shorter than the policy's least.
    """
    found = {}
    for outcome in OUTCOMES:
        usual = max(limits.cooldown_seconds, getattr(policy, f"cooldown_{outcome}_seconds"))
        found[outcome] = max(policy.least_cooldown_seconds, limits.cooldown_after.get(outcome, usual))
    return found


def cooldown_after(found: Mapping[str, float], outcome: str, verdict: str, usual: float) -> float:
    """The cooldown of an execution that ended, in seconds: the longest of those that its end calls for.

    Args:
        found: from ``cooldowns``; empty for an execution that was permitted before there were several.
        outcome: as the executor names it; half a success counts as a failure.
        verdict: what verification said; empty for none.
        usual: the runbook's own cooldown, for an end that is none of these, such as one before the first change.
    """
    ends = {"partial": "failure"}.get(outcome, outcome)
    called_for = [found[name] for name in (ends, verdict) if name in found]
    return max(called_for, default=usual)
