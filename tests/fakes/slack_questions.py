"""Questions with all their facts, as hostile as one likes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fakes.voters import NOBODY_KNOWS

from safety.access import Scope
from safety.approvals import Approval, Verb, answer, ask
from safety.quorum import Approver, Choice, Rule
from services.approvals.facts import Question, Write

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def question(
    text: str = "payments", *, writes: int = 1, lines: int = 2, status: str = "pending", **changes
) -> Question:
    """A question in which every foreign value is the same text."""
    return Question(
        approval=approval(text, status),
        runbook="fix-it",
        version="1.0.0",
        target=f"prod/{text}/Deployment/{text}",
        chain=(f"Seen: {text}", f"Caused by: {text}") * 3,
        confidence=0.91,
        blast=f"3 affected ({text})",
        steps=(text,) * max(1, writes),
        writes=tuple(
            Write(text, "kubectl_patch", f"Deployment/{text}", text, tuple(f"- {text}" for _ in range(lines)), text)
            for _ in range(writes)
        ),
        rollback=text,
        message=text,
        channel="#sre",
        scope=Scope("t", "prod", "payments", "fix-it"),
        **changes,
    )


def approval(text: str = "careful", status: str = "pending") -> Approval:
    """An approval of a status, asked by rules that want two people."""
    rule = Rule(
        text or "rule",
        approvers=(Approver("role", text or "sre", count=2),),
        reject=(Choice("too_risky", text), Choice("not_now", text)),
    )
    made = ask("e-1", "i-1", "hash-1", (text,) * 4, now=NOW, timeout=timedelta(minutes=30), rules=(rule,))
    by, now, plan = "ada", NOW + timedelta(minutes=1), made.plan_hash
    if status == "pending":
        return made
    if status == "expired":
        late = answer(made, Verb.EXPIRE, by="rootmend", reason=text or "-", now=made.expires_at, plan_hash=plan)
        assert isinstance(late, Approval)
        return late
    if status == "denied":
        no = answer(made, Verb.DENY, by=by, reason=text or "-", now=now, plan_hash=plan, choice="not_now")
        return no if isinstance(no, Approval) else replace(made, status=no.status or made.status)
    for person in ("ada", "bob"):
        yes = answer(made, Verb.APPROVE, by=person, reason=text, now=now, plan_hash=plan, voter=NOBODY_KNOWS)
        assert isinstance(yes, Approval)
        made = yes
    return made
