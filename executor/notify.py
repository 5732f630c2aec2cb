"""Telling people how an execution goes. A message that cannot be sent never fails anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from typing import Any

from executor.actions.base import Redact, World
from executor.actions.masking import reveal
from executor.context import results_of, scope
from executor.errors import NotConfigured, PlanError
from executor.model import ExecutionRecord, Outcome, Verdict
from executor.people_ports import Card, Mail, Page
from executor.ports import Hooks
from runbooks.templates import TemplateError, render, render_message

TIMEOUT_SECONDS = 15.0
"""For each channel; they are told at the same time."""
_OK, _MULTIPLE = 200, 300
_GOOD = "on_success"

Keeps = Callable[[ExecutionRecord, str], Awaitable[bool]]
"""Whether a message for a moment of an execution is left to a summary. Must not raise."""
_ASKED = "on_approval"


class Notifier:
    """Sends a runbook's notifications.

    Args:
        world: where messages go: chat, people, HTTP.
        hooks: hear, for each channel, ``notification.sent``, ``notification.skipped`` (it is not configured) and
            ``notification.failed``.
        redact: takes secrets out.
        asked_elsewhere: channels on which people are asked in another way, so that ``on_approval`` sends nothing there.
        keeps: asked before a message is sent; what it keeps, it tells people itself.
    """

    def __init__(
        self,
        world: World,
        hooks: Hooks,
        redact: Redact,
        asked_elsewhere: Collection[str] = (),
        keeps: Keeps | None = None,
    ) -> None:
        self._keeps = keeps
        self._world = world
        self._asked_elsewhere = frozenset(asked_elsewhere)
        self._hooks = hooks
        self._redact = redact
        self._ways: Mapping[str, _Way] = {
            "slack": self._slack,
            "teams": self._teams,
            "pagerduty": self._pagerduty,
            "email": self._email,
            "webhook": self._webhook,
        }

    async def tell(self, record: ExecutionRecord, moment: str) -> None:
        """Send the messages for a moment, on every channel that the runbook names for it.

        After a crash a message may be sent twice: a missed one would be worse.

        Args:
            record: the execution as it stands.
            moment: ``on_start``, ``on_success``, ``on_failure``, ``on_rollback``, ``on_inconclusive`` or
                ``on_approval``.
        """
        channels = record.notification.get(moment) or {}
        named = [(channel, content) for channel, content in channels.items() if content and channel in self._ways]
        if moment == _ASKED:
            named = [(channel, content) for channel, content in named if channel not in self._asked_elsewhere]
        if named and self._keeps is not None and await self._keeps(record, moment):
            return
        await asyncio.gather(*(self._by(channel, content, record, moment) for channel, content in named))

    async def _by(self, channel: str, content: Mapping[str, Any], record: ExecutionRecord, moment: str) -> None:
        facts = {"execution": record.id, "runbook": record.plan.runbook_id, "moment": moment, "channel": channel}
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._ways[channel](content, record, moment)
        except NotConfigured as error:
            self._hooks.event("notification.skipped", **facts, error=self._redact(str(error)))
        except Exception as error:  # noqa: BLE001 - see the module's first line
            self._hooks.event("notification.failed", **facts, error=self._redact(str(error) or type(error).__name__))
        else:
            self._hooks.event("notification.sent", **facts)

    def _text(self, template: str, record: ExecutionRecord) -> str:
        return self._redact(message_of(template, record))

    async def _slack(self, content: Mapping[str, Any], record: ExecutionRecord, moment: str) -> None:
        await self._world.chat.post(content["channel"], self._text(content["message"], record))

    async def _teams(self, content: Mapping[str, Any], record: ExecutionRecord, moment: str) -> None:
        card = Card(self._text(content["message"], record), headline(record, moment), told(record))
        await self._world.people.teams.post(content.get("channel") or "default", card)

    async def _pagerduty(self, content: Mapping[str, Any], record: ExecutionRecord, moment: str) -> None:
        """Good news closes the alert that bad news of the same execution opened."""
        page = Page(
            "resolve" if moment == _GOOD else "trigger",
            record.id,
            self._text(content["message"], record),
            content.get("severity", "error"),
            record.plan.target_key,
            details=self._facts(record, moment),
        )
        await self._world.people.pager.send(page)

    async def _email(self, content: Mapping[str, Any], record: ExecutionRecord, moment: str) -> None:
        subject = self._text(content["subject"], record) if content.get("subject") else headline(record, moment)
        text = self._text(content["message"], record)
        await self._world.people.mailer.send(Mail(subject, text, f"{record.id}/{moment}", tuple(content["to"])))

    async def _webhook(self, content: Mapping[str, Any], record: ExecutionRecord, moment: str) -> None:
        body = self._facts(record, moment)
        if content.get("message"):
            body["text"] = self._text(content["message"], record)
        address = await reveal(_address(content["url"], record), self._world.secrets)
        with address.hiding():
            status, _, said = await self._world.http.request(
                "POST",
                address.value,
                headers={"Content-Type": "application/json", "Idempotency-Key": f"{record.id}/{moment}"},
                body=json.dumps(body, ensure_ascii=False),
                timeout_seconds=TIMEOUT_SECONDS,
            )
        if not _OK <= status < _MULTIPLE:
            raise PlanError(f"the webhook answered {status}: {address.hide(said)[:200]}")

    def _facts(self, record: ExecutionRecord, moment: str) -> dict[str, Any]:
        return {
            "moment": moment.removeprefix("on_"),
            "execution": record.id,
            "runbook": record.plan.runbook_id,
            "version": record.plan.runbook_version,
            "incident": record.incident.get("id", ""),
            "target": record.plan.target_key,
            "outcome": str(record.outcome or ""),
            "verdict": str(record.verdict or ""),
            "error": self._redact(record.error),
        }


_Way = Callable[[Mapping[str, Any], ExecutionRecord, str], Coroutine[Any, Any, None]]


def headline(record: ExecutionRecord, moment: str) -> str:
    """Runbook, target and how it stands, in one line."""
    stands = str(record.outcome or moment.removeprefix("on_"))
    return f"{record.plan.runbook_id} on {record.plan.target_key}: {stands}"


def told(record: ExecutionRecord) -> dict[str, str]:
    """What every card shows beside its text."""
    facts = {"Execution": record.id, "Outcome": str(record.outcome or ""), "Verdict": str(record.verdict or "")}
    return {name: value for name, value in facts.items() if value}


def _address(template: str, record: ExecutionRecord) -> str:
    """The address, with its secrets as references. One that cannot be rendered is no address."""
    try:
        return str(render(template, names(record)))
    except TemplateError as error:
        raise PlanError(f"the address of the webhook cannot be rendered: {error}") from error


def names(record: ExecutionRecord) -> dict[str, Any]:
    """The names that messages can use: those of the steps, with ``error_message``, ``verdict`` and ``outcome``."""
    known = scope(record.plan.context, results_of(record.plan, record.steps))
    return {
        **known,
        "error_message": record.error,
        "verdict": str(record.verdict or ""),
        "outcome": str(record.outcome or ""),
        "runbook": {"id": record.plan.runbook_id, "version": record.plan.runbook_version},
    }


def message_of(template: str, record: ExecutionRecord) -> str:
    """A message of a runbook for people; one that cannot be rendered says so, and what it is about."""
    try:
        return render_message(template, names(record))
    except TemplateError as error:
        # People hear of it even when the author's text is broken.
        plain = f"{record.plan.runbook_id} on {record.plan.target_key}: {record.outcome or record.status}"
        return f"{plain} {record.error} (the runbook's own message cannot be rendered: {error})"


def moment_of(outcome: Outcome, verdict: Verdict | None) -> str:
    """Which notification an ending asks for."""
    if verdict is Verdict.INCONCLUSIVE:
        return "on_inconclusive"
    return {Outcome.SUCCESS: "on_success", Outcome.PARTIAL: "on_success", Outcome.ROLLBACK: "on_rollback"}.get(
        outcome, "on_failure"
    )


def fallback(moment: str, notification: Mapping[str, Any]) -> str:
    """The moment itself, or ``on_failure`` for bad news that the runbook has no message for."""
    bad_news = moment in ("on_rollback", "on_inconclusive")
    return "on_failure" if bad_news and not notification.get(moment) else moment
