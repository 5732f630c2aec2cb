"""Calls people when a storm has stopped automation, once, and again when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from html import escape

import structlog

from executor.errors import NotConfigured
from executor.people_ports import Card, Mail, Page, PageAction, People
from executor.ports import Chat, Hooks
from runbooks.durations import format_duration
from safety.breaker import Counted, Stopped, StormCall
from safety.ports import Breaker
from services.pipeline.storms import tell_changes

log = structlog.get_logger(__name__)

_TIMEOUT_SECONDS = 15.0
_SHOWN = 10
"""More scopes than these are counted instead of listed."""
_WORDS: Mapping[Counted, str] = {
    Counted.CAUSES: "targets with cause {of}",
    Counted.FAILURES: "executions that failed",
    Counted.NOT_FIXED: "executions that did not fix it",
}


class StormCalls:
    """Looks after open scopes, and tells people.

    Args:
        breaker: what is open, and who has to be told.
        chat: Slack.
        people: the other ways.
        ways: which of them are used, as far as they are set up.
        channel: of the chat; empty for its own.
        quiet_seconds: calm for so long, and a scope closes.
        redact: takes secrets out.
        hooks: hear ``storm.told`` with way and outcome.
    """

    def __init__(
        self,
        *,
        breaker: Breaker,
        chat: Chat,
        people: People,
        ways: Sequence[str],
        channel: str,
        quiet_seconds: float,
        redact: Callable[[str], str],
        hooks: Hooks,
    ) -> None:
        self._breaker = breaker
        self._chat = chat
        self._people = people
        self._channel = channel
        self._quiet = quiet_seconds
        self._redact = redact
        self._hooks = hooks
        known: Mapping[str, Callable[[StormCall, str, str], Awaitable[object]]] = {
            "slack": self._slack,
            "teams": self._teams,
            "pagerduty": self._page,
            "mail": self._mail,
        }
        self._ways = {name: known[name] for name in ways}

    async def sweep(self) -> None:
        """Close what is calm, then tell whoever has to be told."""
        tell_changes(await self._breaker.look(), self._hooks)
        for call in await self._breaker.due():
            stopped = [one for one in await self._breaker.stopped() if one.scope.tenant == call.tenant]
            text = self._redact(summary(call, stopped, self._quiet))
            told = await asyncio.gather(*(self._by(way, call, headline(call), text) for way in self._ways))
            # One way that works is enough: a second try of the others would call the first ones again.
            await self._breaker.told(call, reached=True in told or False not in told)

    async def _by(self, way: str, call: StormCall, subject: str, text: str) -> bool | None:
        """True when they were told, False when it did not work, None when this way is not set up."""
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await self._ways[way](call, subject, text)
        except NotConfigured as error:
            outcome, told, why = "skipped", None, str(error)
        except Exception as error:  # noqa: BLE001 - whatever it was, the other ways must be tried
            outcome, told, why = "failed", False, str(error) or type(error).__name__
        else:
            outcome, told, why = "sent", True, ""
        self._hooks.event("storm.told", way=way, outcome=outcome)
        log.warning("storm.told", way=way, outcome=outcome, opens=call.opens, error=self._redact(why))
        return told

    async def _slack(self, _call: StormCall, _subject: str, text: str) -> None:
        # Names come from outside: none may become a link or call a channel.
        await self._chat.post(self._channel, escape(text, quote=False))

    async def _teams(self, _call: StormCall, subject: str, text: str) -> None:
        await self._people.teams.post("default", Card(text, subject, {}))

    async def _page(self, call: StormCall, subject: str, text: str) -> None:
        what: PageAction = "trigger" if call.opens else "resolve"
        await self._people.pager.send(
            Page(what, _id_of(call), subject, "critical", call.tenant, details={"text": text})
        )

    async def _mail(self, call: StormCall, subject: str, text: str) -> None:
        await self._people.mailer.send(Mail(subject, text, f"{_id_of(call)}/{call.opens}", ()))


def _id_of(call: StormCall) -> str:
    return f"storm/{call.tenant}/{call.since}"


def headline(call: StormCall) -> str:
    """The summary in one line."""
    if call.opens:
        return f"Storm: automation is stopped for tenant {call.tenant}, a human is needed"
    return f"Storm over: automation goes on for tenant {call.tenant}"


def summary(call: StormCall, stopped: Sequence[Stopped], quiet_seconds: float) -> str:
    """What people are told, once for the whole storm."""
    since = datetime.fromtimestamp(call.since / 1000, UTC)
    lines = [headline(call), f"It began at {since:%Y-%m-%d %H:%M:%S} UTC."]
    if call.opens:
        lines += [f"- {one}" for one in map(told_of, stopped[:_SHOWN])]
        if more := len(stopped) - _SHOWN:
            lines += [f"- and {more} more (rb breaker list)"] if more > 0 else []
        quiet = format_duration(timedelta(seconds=quiet_seconds))
        lines.append(
            "Nothing new runs there, and nobody is asked about it. What runs goes on; a rollback is never stopped."
        )
        lines.append(f"It goes on by itself after {quiet} of calm. Sooner: rb breaker reset SCOPE --reason WHY")
    if call.held_back:
        kept = ", ".join(f"{count} {kind}" for kind, count in sorted(call.held_back.items()))
        lines.append(f"Not told one by one{' so far' if call.opens else ''}: {kept}.")
    return "\n".join(lines)


def told_of(one: Stopped) -> str:
    """One scope with its numbers."""
    window = format_duration(timedelta(milliseconds=one.window))
    what = _WORDS[one.counted].format(of=one.of)
    return f"{one.scope}: {one.count} {what} within {window}, {one.upper} are allowed"
