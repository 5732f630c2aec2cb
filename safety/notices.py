"""What people have to be told of a question, and when: its timers, as data that follow from the question alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from safety.approvals import Approval, ApprovalStatus
from safety.quorum import Channel, due_escalations, missing


class NoticeKind(StrEnum):
    """Why people are told."""

    ASKED = "asked"
    ESCALATION = "escalation"
    REMINDER = "reminder"
    BYPASS = "bypass"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell.

    Attributes:
        key: the same in every process, so that it is told once.
        names: users, roles, groups or teams whom it is for; empty for everybody.
        channels: of the rule, where it names some.
    """

    key: str
    kind: NoticeKind
    names: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()


def due(approval: Approval, now: datetime, remind_every: timedelta | None = None) -> tuple[Notice, ...]:
    """What has to be told by now; who keeps what was told already leaves that out.

    Args:
        approval: as it stands.
        now: wall clock, UTC.
        remind_every: pause between reminders; None for none. Of several that were missed only the last one is due.
    """
    if approval.bypassed:
        return (Notice(f"{approval.id}|bypass", NoticeKind.BYPASS),)
    if approval.status is not ApprovalStatus.PENDING or now >= approval.expires_at:
        return ()
    found: list[Notice] = []
    for number, rule in enumerate(approval.rules):
        if not missing(rule, approval.yeses, approval.requested_at):
            continue
        if rule.channels:
            found.append(Notice(f"{approval.id}|asked|{number}", NoticeKind.ASKED, (), rule.channels))
        for step, one in enumerate(due_escalations(rule, approval.requested_at, now)):
            key = f"{approval.id}|escalation|{number}|{step}|{one.seconds:g}"
            found.append(Notice(key, NoticeKind.ESCALATION, one.notify, rule.channels))
    times = (now - approval.requested_at) // remind_every if remind_every else 0
    if times > 0:
        channels = tuple(dict.fromkeys(each for rule in approval.rules for each in rule.channels))
        found.append(Notice(f"{approval.id}|reminder|{times}", NoticeKind.REMINDER, (), channels))
    return tuple(found)
