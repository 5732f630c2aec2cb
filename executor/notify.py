"""Telling people how an execution goes. A message that cannot be sent never fails anything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from executor.actions.base import Redact
from executor.context import results_of, scope
from executor.errors import NotConfigured
from executor.model import ExecutionRecord, Outcome, Verdict
from executor.ports import Chat, Hooks
from runbooks.templates import TemplateError, render_message

TIMEOUT_SECONDS = 10.0


class Notifier:
    """Sends a runbook's notifications.

    Args:
        chat: where messages go.
        hooks: hear ``notification.sent``, ``notification.skipped`` (chat is not configured) and
            ``notification.failed``.
        redact: takes secrets out.
    """

    def __init__(self, chat: Chat, hooks: Hooks, redact: Redact) -> None:
        self._chat = chat
        self._hooks = hooks
        self._redact = redact

    async def tell(self, record: ExecutionRecord, moment: str) -> None:
        """Send the message for a moment, if the runbook has one.

        After a crash a message may be sent twice: a missed one would be worse.

        Args:
            record: the execution as it stands.
            moment: ``on_start``, ``on_success``, ``on_failure``, ``on_rollback`` or ``on_inconclusive``.
        """
        slack = (record.notification.get(moment) or {}).get("slack")
        if not slack:
            return
        facts = {"execution": record.id, "runbook": record.plan.runbook_id, "moment": moment}
        text = self._redact(_rendered(slack["message"], record))
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._chat.post(slack["channel"], text)
        except NotConfigured:
            self._hooks.event("notification.skipped", **facts)
        except Exception as error:  # noqa: BLE001 - see the module's first line
            self._hooks.event("notification.failed", **facts, error=self._redact(str(error)))
        else:
            self._hooks.event("notification.sent", **facts)


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


def _rendered(template: str, record: ExecutionRecord) -> str:
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
