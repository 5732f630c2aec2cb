"""What people do in Slack: clicks on buttons and dialogs that are sent. The same for both transports.

A click is an answer only together with a person and the plan that the message showed. What does not count is told to
the one who clicked, and to nobody else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from executor.errors import RemediationError
from safety.access import Actor, ActorKind
from safety.approvals import Approval, ApprovalError, ApprovalProblem, ApprovalStatus, ApprovalStore, Verb
from services.access.denials import Denials, Try
from services.approvals.answering import Answer, Answering
from services.approvals.facts import Question, Redact, question_of
from services.ports import DecisionLedger
from services.slack import blocks
from services.slack.client import SlackApi
from services.slack.surface import NAME
from services.slack.text import escaped
from services.slack.who import UnknownPerson, Who

log = structlog.get_logger(__name__)

Reply = Mapping[str, Any]
"""What goes back with the acknowledgement; empty for nothing."""

_ANSWER_SECONDS = 2.0
"""Slack waits 3 s for the acknowledgement. What takes longer goes on after it."""
_MOST_RUNNING = 200
_UNREADABLE = "this message cannot be read any more: use rb approvals"


@dataclass(frozen=True, slots=True)
class _Click:
    """One click or one dialog, as far as we look at it."""

    user: str
    channel: str
    message: str
    approval_id: str
    plan_hash: str
    action: str
    trigger: str = ""
    reason: str = ""
    choice: str = ""


class Clicks:
    """Carries clicks out.

    Args:
        on_answer: told that something was answered, so that the messages are brought up to date at once.
        denials: told of clicks of accounts that stand for nobody; None where nobody is.
    """

    def __init__(
        self,
        *,
        api: SlackApi,
        who: Who,
        answering: Answering,
        approvals: ApprovalStore,
        ledger: DecisionLedger,
        redact: Redact,
        on_answer: Callable[[], None] = lambda: None,
        denials: Denials | None = None,
    ) -> None:
        self._denials = denials
        self._api = api
        self._who = who
        self._answering = answering
        self._approvals = approvals
        self._ledger = ledger
        self._redact = redact
        self._on_answer = on_answer
        self._running: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether so much is under way that nothing more is taken."""
        return len(self._running) >= _MOST_RUNNING

    async def take(self, payload: Mapping[str, Any]) -> Reply:
        """Take what Slack sent. Returns in time for the acknowledgement; what is left goes on by itself.

        Returns:
            What the acknowledgement carries: the mistakes in a dialog, or nothing.
        """
        click = _read(payload)
        if click is None:
            log.info("slack.ignored", type=str(payload.get("type", ""))[:40])
            return {}
        if mistakes := _mistakes(click):
            return {"response_action": "errors", "errors": mistakes}
        if self.busy:
            log.warning("slack.too_busy", user=click.user)
            return {}
        task = asyncio.create_task(self._carry_out(click))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.wait({task}, timeout=_ANSWER_SECONDS)
        return {}

    async def close(self) -> None:
        """Let what is under way finish."""
        if self._running:
            await asyncio.wait(self._running, timeout=_ANSWER_SECONDS)

    async def _carry_out(self, click: _Click) -> None:
        try:
            said = await self._done(click)
        except UnknownPerson as error:
            log.warning("slack.unknown_person", user=click.user, approval_id=click.approval_id, why=str(error))
            said = f"This does not count: {error}."
            if self._denials is not None:
                actor = f"{ActorKind.SLACK}:{click.user}"
                await self._denials.tell(Try(f"{NAME} {click.action}", actor, str(error), _tried(click)))
        except RemediationError as error:
            log.warning("slack.not_taken", user=click.user, approval_id=click.approval_id, error=str(error))
            said = (
                f"That did not work: {self._redact(str(error))}. Nothing was answered. Try again, or use rb approvals."
            )
        except Exception as error:  # a click must end in words, whatever went wrong
            log.exception("slack.failed", user=click.user, approval_id=click.approval_id)
            said = f"That did not work ({type(error).__name__}). Try again, or use rb approvals."
        if said:
            await self._whisper(click, said)

    async def _done(self, click: _Click) -> str:
        """Do what was clicked; what the person has to be told, empty for nothing."""
        actor = await self._who.actor(click.user)
        ways: Mapping[str, Callable[[_Click, Actor], Awaitable[str]]] = {
            blocks.APPROVE: self._approve,
            blocks.DENY: self._ask_why,
            blocks.DETAILS: self._details,
            blocks.APPROVE_VIEW: self._send,
            blocks.DENY_VIEW: self._send,
        }
        return await ways[click.action](click, actor)

    async def _approve(self, click: _Click, actor: Actor) -> str:
        question = await self._question(click)
        if question is None:
            return _UNREADABLE
        if question.needs_comment and question.approval.status is ApprovalStatus.PENDING:
            await self._open(
                click, blocks.dialog(question, approve=True, channel=click.channel, message_id=click.message)
            )
            return ""
        return await self._answer(click, Verb.APPROVE, actor)

    async def _ask_why(self, click: _Click, actor: Actor) -> str:
        question = await self._question(click)
        if question is None:
            return _UNREADABLE
        if question.approval.status is not ApprovalStatus.PENDING:
            return await self._answer(click, Verb.DENY, actor)  # it says who was first
        await self._open(click, blocks.dialog(question, approve=False, channel=click.channel, message_id=click.message))
        return ""

    async def _details(self, click: _Click, _: Actor) -> str:
        question = await self._question(click)
        if question is None:
            return _UNREADABLE
        await self._open(click, blocks.details(question))
        return ""

    async def _send(self, click: _Click, actor: Actor) -> str:
        return await self._answer(click, Verb.DENY if click.action == blocks.DENY_VIEW else Verb.APPROVE, actor)

    async def _answer(self, click: _Click, verb: Verb, actor: Actor) -> str:
        given = Answer(click.approval_id, click.plan_hash, verb, reason=click.reason, choice=click.choice, surface=NAME)
        answered = await self._answering.answer(given, actor)
        self._on_answer()
        if isinstance(answered, ApprovalError):
            await self._refresh(click, answered)
            return f"This answer does not count: {answered.message}."
        if answered.status is ApprovalStatus.PENDING:
            return f"Your yes is kept. Still needed: {'; '.join(answered.lacking)}."
        return ""

    async def _refresh(self, click: _Click, error: ApprovalError) -> None:
        """The message that was clicked shows something else than what holds: put that right, also in a stray copy."""
        if error.problem is not ApprovalProblem.NOT_POSSIBLE or not click.message:
            return
        question = await self._question(click)
        if question is not None:
            text, shown = blocks.headline(question), blocks.message(question)
            await self._api.call(
                "chat.update", click.channel, channel=click.channel, ts=click.message, text=text, blocks=shown
            )

    async def _open(self, click: _Click, view: Mapping[str, Any]) -> None:
        await self._api.call("views.open", "a dialog", trigger_id=click.trigger, view=view)

    async def _question(self, click: _Click) -> Question | None:
        approval = await self._approvals.get(click.approval_id)
        return None if approval is None else await self._with_facts(approval)

    async def _with_facts(self, approval: Approval) -> Question | None:
        for story in await self._ledger.find(approval.execution_id, 1):
            for told in story.executions:
                if told.record.id == approval.execution_id:
                    return question_of(approval, told.record, story.decision, self._redact)
        return None

    async def _whisper(self, click: _Click, text: str) -> None:
        """Tell only the one who clicked."""
        if not click.channel or not click.user:
            return
        try:
            said = escaped(text, 2_000)
            await self._api.call("chat.postEphemeral", click.channel, channel=click.channel, user=click.user, text=said)
        except RemediationError as error:
            log.warning("slack.not_told", user=click.user, error=str(error))


def claimed(payload: Mapping[str, Any]) -> tuple[str, Mapping[str, str]]:
    """What a request says that nobody proved to be Slack's: the action, and the facts of it."""
    click = _read(payload)
    return (click.action, {"claimed_user": click.user, **_tried(click)}) if click else ("", {})


def _tried(click: _Click) -> dict[str, str]:
    return {"user": click.user, "approval": click.approval_id, "plan_hash": click.plan_hash, "channel": click.channel}


def _read(payload: Mapping[str, Any]) -> _Click | None:
    """A click of ours; None for anything else."""
    try:
        kind = payload["type"]
        if kind == "block_actions":
            return _button(payload)
        if kind == "view_submission":
            return _submitted(payload)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        log.warning("slack.unreadable", type=str(payload.get("type", ""))[:40])
    return None


def _button(payload: Mapping[str, Any]) -> _Click | None:
    pressed = payload["actions"][0]
    if pressed["action_id"] not in (blocks.APPROVE, blocks.DENY, blocks.DETAILS):
        return None
    value, place = json.loads(pressed["value"]), payload.get("container") or {}
    return _Click(
        user=str(payload["user"]["id"]),
        channel=str(place.get("channel_id") or ""),
        message=str(place.get("message_ts") or ""),
        approval_id=str(value["a"]),
        plan_hash=str(value["h"]),
        action=pressed["action_id"],
        trigger=str(payload.get("trigger_id") or ""),
    )


def _submitted(payload: Mapping[str, Any]) -> _Click | None:
    view = payload["view"]
    if view["callback_id"] not in (blocks.APPROVE_VIEW, blocks.DENY_VIEW):
        return None
    kept, values = json.loads(view["private_metadata"]), view["state"]["values"]
    reason = (values.get(blocks.REASON) or {}).get(blocks.INPUT) or {}
    chosen = ((values.get(blocks.CHOICE) or {}).get(blocks.INPUT) or {}).get("selected_option") or {}
    return _Click(
        user=str(payload["user"]["id"]),
        channel=str(kept["c"]),
        message=str(kept["m"]),
        approval_id=str(kept["a"]),
        plan_hash=str(kept["h"]),
        action=view["callback_id"],
        reason=str(reason.get("value") or ""),
        choice=str(chosen.get("value") or ""),
    )


def _mistakes(click: _Click) -> Mapping[str, str]:
    """What is wrong in a dialog, by its block; Slack shows it there and keeps the dialog open."""
    if click.action == blocks.DENY_VIEW and not click.reason.strip():
        return {blocks.REASON: "A denial needs a reason: it goes on record."}
    return {}
