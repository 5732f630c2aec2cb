"""Questions as Block Kit. Every block stays within what Slack takes, and every foreign value within its block."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from safety.approvals import Approval, ApprovalStatus
from safety.quorum import Choice
from services.approvals.facts import Question, Write
from services.approvals.progress import Progress
from services.slack.text import HEADER, SECTION, block_of, clean, code, escaped, joined, plain, size

Block = dict[str, Any]

APPROVE, DENY, DETAILS = "rootmend_approve", "rootmend_deny", "rootmend_details"
APPROVE_VIEW, DENY_VIEW = "rootmend_approve_view", "rootmend_deny_view"
REASON, CHOICE, INPUT = "reason", "choice", "input"
MESSAGE_BLOCKS, MODAL_BLOCKS = 50, 100
_MESSAGE_WRITES = 3_000
"""Characters of all changes in the message, which Slack limits as a whole too; the rest is behind the button."""
_MESSAGE_DIFF, _MODAL_DIFF = 900, 2_600
_DETAIL_WRITES = 60

_SAID = {
    ApprovalStatus.PENDING: "Approval needed",
    ApprovalStatus.APPROVED: "Approved",
    ApprovalStatus.DENIED: "Denied",
    ApprovalStatus.EXPIRED: "Expired: nobody answered",
    ApprovalStatus.OVERTAKEN: "Overtaken: this plan is not carried out any more",
}


def headline(question: Question) -> str:
    """The question in one line, for notifications and for those who see no blocks."""
    about = f"{clean(question.runbook)} on {clean(question.target)}"
    return escaped(f"{_SAID[question.approval.status]}: {about}", 400)


def message(question: Question) -> list[Block]:
    """The message as the question stands: with buttons while it is open, with the answer afterwards."""
    approval = question.approval
    about = f"{question.runbook} on {question.target.rpartition('/')[2]}"
    blocks = [_header(f"{_SAID[approval.status]}: {about}")]
    if approval.status is not ApprovalStatus.PENDING:
        blocks.append(_text(_answer(approval)))
    blocks.append({"type": "section", "fields": [_mrkdwn(field) for field in _fields(question)]})
    if question.message:
        blocks.append({"type": "section", "text": _label(question.message, 500)})
    blocks.append(_text(joined(["*Why*", *(code(line, 400) for line in question.chain)], 1_200)))
    if approval.reasons:
        blocks.append(_text(joined(["*Why a human*", *(f"• {code(line)}" for line in approval.reasons)], 800)))
    blocks += _first_writes(question.writes)
    blocks.append(_text(f"*Rollback*\n{code(question.rollback, 500)}"))
    blocks += _people(approval, 600)
    blocks.append(_actions(question))
    blocks.append(_context(question))
    return blocks[:MESSAGE_BLOCKS]


def details(question: Question) -> Block:
    """A dialog with the whole plan, as far as Slack takes it."""
    approval = question.approval
    steps = (f"{number}. {code(name)}" for number, name in enumerate(question.steps, 1))
    blocks = [
        _text(f"*{_SAID[approval.status]}*\n{_place(question)}"),
        _text(joined(["*Why*", *(code(line, 600) for line in question.chain)], SECTION)),
        _text(joined(["*Steps*", *steps], SECTION)),
        *_writes(question.writes[:_DETAIL_WRITES], _MODAL_DIFF),
        _text(f"*Rollback*\n{code(question.rollback, 2_500)}"),
        *_people(approval, 2_500),
        _context(question),
    ]
    if len(question.writes) > _DETAIL_WRITES:
        blocks.insert(-1, _text(f"… and {len(question.writes) - _DETAIL_WRITES} more changes"))
    return {
        "type": "modal",
        "title": _label("Details", 24),
        "close": _label("Close", 24),
        "blocks": blocks[:MODAL_BLOCKS],
    }


def dialog(question: Question, *, approve: bool, channel: str, message_id: str) -> Block:
    """A dialog for what a click cannot say: the reason for a no, or a comment or choice with a yes.

    Args:
        question: which is answered.
        approve: whether for a yes.
        channel: of the message that was clicked.
        message_id: of that message.
    """
    rules = question.approval.rules
    choices = [one for rule in rules for one in (rule.approve if approve else rule.reject)]
    comment = not approve or any(rule.comment_required for rule in rules)
    kept = {"a": question.approval.id, "h": question.approval.plan_hash, "c": channel, "m": message_id}
    blocks = [_text(f"{code(question.runbook)} on {code(question.target)}")]
    if choices:
        blocks.append(_choice(choices, approve=approve))
    blocks.append(_reason(needed=comment, approve=approve))
    return {
        "type": "modal",
        "callback_id": APPROVE_VIEW if approve else DENY_VIEW,
        "private_metadata": json.dumps(kept),
        "title": _label("Approve" if approve else "Deny", 24),
        "submit": _label("Approve" if approve else "Deny", 24),
        "close": _label("Cancel", 24),
        "blocks": blocks,
    }


def progress(told: Progress) -> list[Block]:
    """How an execution gets on, as one message however many steps there are."""
    stage = f"*{escaped(told.stage, 60).capitalize()}*"
    folded = f"earlier steps: {escaped(told.folded, 200)}" if told.folded else ""
    return [_text(joined([stage, folded, *(f"• {code(line, 300)}" for line in told.lines)], SECTION))]


def ending(told: Progress) -> list[Block]:
    """How it ended."""
    sign = ":white_check_mark:" if told.good else ":warning:"
    return [_text(f"{sign} *Ended*: {code(told.ending, 2_000)}")]


def _fields(question: Question) -> Iterator[str]:
    yield f"*Runbook*\n{code(question.runbook)} {code(question.version, 60)}"
    yield f"*Where*\n{_place(question)}"
    yield f"*Blast radius*\n{code(question.blast, 200) or 'not counted'}"
    sure = "unknown" if question.confidence is None else f"{question.confidence:.2f}"
    yield f"*Confidence*\n{sure}"
    yield f"*Open until*\n{_moment(question.approval.expires_at)}"
    if question.approval.step:
        yield f"*About step*\n{code(question.approval.step)}"


def _place(question: Question) -> str:
    return code(question.target)


def _moment(at: datetime) -> str:
    """In the reader's own time zone; in UTC for those whose client cannot."""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time_secs}}|{at:%Y-%m-%d %H:%M:%S} UTC>"


def _answer(approval: Approval) -> str:
    when = f" {_moment(approval.answered_at)}" if approval.answered_at else ""
    by = f" by {code(approval.answered_by)}" if approval.answered_by else ""
    choice = f"\nchosen: {code(approval.choice)}" if approval.choice else ""
    why = f"\n{code(approval.answer_reason, 1_500)}" if approval.answer_reason else ""
    return f"*{_SAID[approval.status]}*{by}{when}{choice}{why}"


def _writes(writes: Iterable[Write], most: int) -> Iterator[Block]:
    for write in writes:
        about = f" {code(write.about)}" if write.about else ""
        undo = f"undo: {code(write.undo)}" if write.undo else ":warning: *cannot be undone*"
        head = f"*{escaped(write.action, 60)}*{about}: {code(write.summary, 500)}\n{undo}"
        diff = block_of(write.diff, min(most, SECTION - len(head) * 2 - 10))
        yield _text(f"{head}\n{diff}" if diff else head)


def _first_writes(writes: Sequence[Write]) -> Iterator[Block]:
    """As many changes as belong into a message."""
    room = _MESSAGE_WRITES
    for number, block in enumerate(_writes(writes, _MESSAGE_DIFF)):
        room -= size(block["text"]["text"])
        if room < 0:
            yield _text(f"… and {len(writes) - number} more changes: *Details*")
            return
        yield block


def _people(approval: Approval, most: int) -> Iterator[Block]:
    said = [f"• yes by {code(yes.by)}{f': {code(yes.comment)}' if yes.comment else ''}" for yes in approval.yeses]
    lacking = [f"• still needed: {code(who)}" for who in approval.lacking]
    if approval.status is not ApprovalStatus.PENDING or not (said or approval.rules):
        return
    yield _text(joined(["*Who has to say yes*", *said, *lacking], most))


def _actions(question: Question) -> Block:
    value = json.dumps({"a": question.approval.id, "h": question.approval.plan_hash})
    buttons: list[Block] = []
    if question.approval.status is ApprovalStatus.PENDING:
        sure = {
            "title": _label("Approve this plan?", 100),
            "text": {"type": "plain_text", "text": plain(f"{question.runbook} on {question.target}", 300)},
            "confirm": _label("Approve", 30),
            "deny": _label("Cancel", 30),
        }
        buttons = [
            {**_button("Approve", APPROVE, value), "style": "primary", "confirm": sure},
            {**_button("Deny", DENY, value), "style": "danger"},
        ]
        if question.needs_comment:
            del buttons[0]["confirm"]  # its dialog asks already
    return {"type": "actions", "elements": [*buttons, _button("Details", DETAILS, value)]}


def _button(text: str, action: str, value: str) -> Block:
    return {"type": "button", "text": _label(text, 75), "action_id": action, "value": value}


def _context(question: Question) -> Block:
    approval = question.approval
    known = (
        f"approval {code(approval.id)} · execution {code(approval.execution_id)} · plan {code(approval.plan_hash[:12])}"
    )
    return {"type": "context", "elements": [_mrkdwn(known)]}


def _choice(choices: Iterable[Choice], *, approve: bool) -> Block:
    options = [
        {"text": _label(one.label or one.value, 75), "value": one.value}
        for one in {one.value: one for one in choices}.values()
        if len(one.value) <= 150  # noqa: PLR2004 - longer values of options are refused
    ][:100]
    return {
        "type": "input",
        "block_id": CHOICE,
        "label": _label("How" if approve else "Why not", 2_000),
        "optional": approve,
        "element": {"type": "static_select", "action_id": INPUT, "options": options},
    }


def _reason(*, needed: bool, approve: bool) -> Block:
    return {
        "type": "input",
        "block_id": REASON,
        "label": _label("Comment" if approve else "Reason: goes on record", 2_000),
        "optional": not needed,
        "element": {"type": "plain_text_input", "action_id": INPUT, "multiline": True, "max_length": 2_000},
    }


def _header(text: str) -> Block:
    return {"type": "header", "text": _label(text, HEADER)}


def _text(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> Block:
    return {"type": "mrkdwn", "text": text or " ", "verbatim": True}


def _label(text: str, most: int) -> Block:
    return {"type": "plain_text", "text": plain(text, most) or " ", "emoji": False}
