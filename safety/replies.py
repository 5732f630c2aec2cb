"""From the answer of the gate's script to a value. Only a gate uses this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from runbooks.durations import format_duration
from safety._seal import SEAL
from safety.axes import AXES, WINDOWS, concurrent_check, rate_check
from safety.model import Answer, ApprovalNeeded, GateRequest, Permit, Refusal

_COUNTED = {
    **{
        rate_check(axis.name, window): f"{{used}} of {{limit}} executions {axis.words} in the last {window}"
        for axis in AXES
        if axis.rated
        for window in WINDOWS
    },
    **{
        concurrent_check(axis.name): f"{{used}} of {{limit}} executions {axis.words} run at the same time"
        for axis in AXES
        if axis.live
    },
}

MESSAGES: Mapping[str, str] = {
    "used": "execution {execution} was carried out already",
    "plan_changed": "the permit is for another plan ({permitted})",
    "pause": "automation is paused by {by}: {reason}",
    "storm": "a storm stopped automation for {scope}: {count} {counted} in {window_seconds} s, {limit} are allowed",
    "lock": "the target is held by execution {holder}",
    "cooldown": "the target cools down for another {seconds_left} s after execution {after}",
    "blast_in_flight": "{used} resources of the {axis} are affected in flight, {count} more are above {limit}",
    **_COUNTED,
}


_PART_PAUSED = "{scope} is paused by {by}: {reason}"


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def facts_of(pairs: Mapping[str, str]) -> Mapping[str, float | str]:
    """The numbers behind a refusal, milliseconds as seconds."""
    texts = {"by", "reason", "holder", "after", "execution", "permitted", "asked", "scope", "counted", "of"}
    texts |= {"axis", "namespace"}
    facts = {name: value if name in texts else _number(value) for name, value in pairs.items()}
    left = facts.pop("ms_left", None)
    return facts if not isinstance(left, float) else {**facts, "seconds_left": left / 1000}


def refusal(check: str, facts: Mapping[str, float | str]) -> Refusal:
    """The refusal of a check in the store, with its message."""
    plain = {name: f"{value:g}" if isinstance(value, float) else value for name, value in facts.items()}
    text = _PART_PAUSED if check == "pause" and "scope" in facts else MESSAGES[check]
    return Refusal(check, text.format(**plain), facts)


def permit(request: GateRequest, token: int, expires_ms: int, approval_id: str) -> Permit:
    """The permit for a request; ``expires_ms`` in milliseconds since 1970."""
    expires_at = datetime.fromtimestamp(expires_ms / 1000, UTC)
    return Permit(SEAL, request.execution_id, request.plan_hash, request.target_key, token, expires_at, approval_id)


def again(needed: ApprovalNeeded | None, counted: Sequence[tuple[str, int, float]]) -> ApprovalNeeded:
    """The question whether it may be done so soon again, beside what is asked anyhow.

    Args:
        needed: what is asked anyhow.
        counted: axis, how many executions there were, and within how many seconds.
    """
    reasons = [_SO_SOON[axis].format(times=_times(used), span=_span(within)) for axis, used, within in counted]
    return ApprovalNeeded((*(needed.reasons if needed else ()), *reasons))


_SO_SOON = {
    "repeat": "the runbook ran for this target {times} in the last {span} already",
    "target": "runbooks ran for this target {times} in the last {span} already",
}


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _span(seconds: float) -> str:
    return format_duration(timedelta(seconds=seconds))


def answer(request: GateRequest, needed: ApprovalNeeded | None, reply: Sequence[str]) -> Answer | None:
    """The answer of ``gate.lua``; None when the store has to be filled first.

    Raises:
        ValueError: the reply is none of the gate's.
    """
    match list(reply):
        case ["permit", token, expires, approval_id]:
            return permit(request, int(token), int(expires), approval_id)
        case ["refuse", check, *pairs] if check in MESSAGES:
            return refusal(check, facts_of(dict(zip(pairs[::2], pairs[1::2], strict=True))))
        case ["clear"] if needed:
            return needed
        case ["again", *parts]:
            found = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
            return again(needed, [(axis, int(used), int(within) / 1000) for axis, used, within in found])
        case ["unprimed"]:
            return None
    raise ValueError(f"not an answer of the gate: {list(reply)}")
