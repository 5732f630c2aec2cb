"""From the answer of the gate's script to a value. Only a gate uses this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from runbooks.durations import format_duration
from safety._seal import SEAL
from safety.model import Answer, ApprovalNeeded, GateRequest, Permit, Refusal

MESSAGES: Mapping[str, str] = {
    "used": "execution {execution} was carried out already",
    "plan_changed": "the permit is for another plan ({permitted})",
    "pause": "automation is paused by {by}: {reason}",
    "lock": "the target is held by execution {holder}",
    "cooldown": "the target cools down for another {seconds_left} s after execution {after}",
    "runbook_rate": "{used} of {limit} executions of the runbook in the last hour",
    "cluster_rate": "{used} of {limit} executions in the cluster in the last hour",
    "runbook_rate_minute": "{used} of {limit} executions of the runbook in the last minute",
    "runbook_rate_day": "{used} of {limit} executions of the runbook in the last day",
    "concurrent": "{used} of {limit} executions of the runbook run at the same time",
}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def facts_of(pairs: Mapping[str, str]) -> Mapping[str, float | str]:
    """The numbers behind a refusal, milliseconds as seconds."""
    texts = {"by", "reason", "holder", "after", "execution", "permitted", "asked"}
    facts = {name: value if name in texts else _number(value) for name, value in pairs.items()}
    left = facts.pop("ms_left", None)
    return facts if not isinstance(left, float) else {**facts, "seconds_left": left / 1000}


def refusal(check: str, facts: Mapping[str, float | str]) -> Refusal:
    """The refusal of a check in the store, with its message."""
    plain = {name: f"{value:g}" if isinstance(value, float) else value for name, value in facts.items()}
    return Refusal(check, MESSAGES[check].format(**plain), facts)


def permit(request: GateRequest, token: int, expires_ms: int, approval_id: str) -> Permit:
    """The permit for a request; ``expires_ms`` in milliseconds since 1970."""
    expires_at = datetime.fromtimestamp(expires_ms / 1000, UTC)
    return Permit(SEAL, request.execution_id, request.plan_hash, request.target_key, token, expires_at, approval_id)


def again(needed: ApprovalNeeded | None, used: int, within_seconds: float) -> ApprovalNeeded:
    """The question whether the runbook may run for its target so soon again, beside what is asked anyhow."""
    times = "once" if used == 1 else f"{used} times"
    span = format_duration(timedelta(seconds=within_seconds))
    reason = f"the runbook ran for this target {times} in the last {span} already"
    return ApprovalNeeded((*(needed.reasons if needed else ()), reason))


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
        case ["again", used, _, within]:
            return again(needed, int(used), int(within) / 1000)
        case ["unprimed"]:
            return None
    raise ValueError(f"not an answer of the gate: {list(reply)}")
