"""Tickets in Jira and ServiceNow, over their REST APIs."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from executor.errors import Invalid, NotConfigured
from executor.people_ports import Ticket, TicketDraft
from runbooks.findings import did_you_mean
from services.json_calls import Api, JsonCalls

_SUMMARY, _TEXT = 160, 30_000
_STATES = {"new": "1", "in progress": "2", "on hold": "3", "resolved": "6", "closed": "7", "canceled": "8"}


class Jira:
    """Implements ``executor.people_ports.Tickets`` for Jira Cloud and Data Center (REST API 2: plain text).

    Args:
        calls: makes the calls.
        base_url: of the site.
        user: of an API token (Cloud); empty: the token is a personal access token (Data Center).
        token: of either kind.
        project: key, for tickets that name none.
        issue_type: for tickets that name none.
    """

    def __init__(
        self, calls: JsonCalls, base_url: str, *, user: str, token: str, project: str = "", issue_type: str = "Task"
    ) -> None:
        self._calls = calls
        self._base = base_url.rstrip("/")
        self._project = project
        self._kind = issue_type
        self._api = Api("Jira", "jira.user and jira.token", *_credentials(user, token))

    async def create(self, draft: TicketDraft) -> Ticket:
        """Open an issue; its reference becomes a label."""
        project = draft.project or self._project
        if not project:
            raise NotConfigured("the ticket names no project, and jira.project is not set")
        fields = {
            "project": {"key": project},
            "issuetype": {"name": draft.kind or self._kind},
            "summary": _one_line(draft.summary),
            "description": draft.description[:_TEXT],
            "labels": [*(_label(label) for label in draft.labels), _label(draft.reference)],
            **draft.fields,
        }
        reply = await self._calls.call(self._api, "POST", f"{self._base}/rest/api/2/issue", {"fields": fields})
        key = str(_part(reply.data, "key") or "")
        if not key:
            raise Invalid(f"Jira created something without a key: {reply.text[:200]}")
        return self._ticket(key)

    async def find(self, reference: str, project: str = "") -> Ticket | None:
        """Look for the label. Jira's index may be some seconds behind."""
        query = urlencode({"jql": f'labels = "{_label(reference)}"', "fields": "status", "maxResults": 1})
        url = f"{self._base}/rest/api/2/search"
        try:
            reply = await self._calls.call(self._api, "GET", f"{url}/jql?{query}", repeatable=True)
        except Invalid:
            # Data Center knows only the older path, Cloud only the newer.
            reply = await self._calls.call(self._api, "GET", f"{url}?{query}", repeatable=True)
        issues = _part(reply.data, "issues") or []
        if not issues:
            return None
        return self._ticket(str(issues[0]["key"]), str(_part(issues[0], "fields", "status", "name") or ""))

    async def comment(self, key: str, text: str) -> None:
        """Add a comment."""
        await self._calls.call(self._api, "POST", f"{self._issue(key)}/comment", {"body": text[:_TEXT]})

    async def transition(self, key: str, state: str, fields: Mapping[str, Any]) -> Ticket:
        """Take the transition of this name, or the one that leads to the state of this name."""
        now = await self._calls.call(self._api, "GET", f"{self._issue(key)}?fields=status", repeatable=True)
        status = str(_part(now.data, "fields", "status", "name") or "")
        if status.casefold() == state.casefold():
            return self._ticket(key, status)
        offered = await self._calls.call(self._api, "GET", f"{self._issue(key)}/transitions", repeatable=True)
        ways = {str(name).casefold(): way for way in _part(offered.data, "transitions") or [] for name in _names(way)}
        way = ways.get(state.casefold())
        if way is None:
            raise Invalid(
                f"{key} is {status!r}, and nothing leads to {state!r} from there; {did_you_mean(state, ways)}"
            )
        body = {"transition": {"id": way["id"]}, **({"fields": dict(fields)} if fields else {})}
        await self._calls.call(self._api, "POST", f"{self._issue(key)}/transitions", body)
        return self._ticket(key, str(_part(way, "to", "name") or state))

    def _issue(self, key: str) -> str:
        return f"{self._base}/rest/api/2/issue/{quote(key, safe='')}"

    def _ticket(self, key: str, status: str = "") -> Ticket:
        return Ticket(key, f"{self._base}/browse/{quote(key)}", status)


class ServiceNow:
    """Implements ``executor.people_ports.Tickets`` for ServiceNow (Table API).

    Args:
        calls: makes the calls.
        base_url: of the instance.
        user: empty: the password is an OAuth token.
        password: of the user.
        table: for tickets that name none.
    """

    def __init__(self, calls: JsonCalls, base_url: str, *, user: str, password: str, table: str = "incident") -> None:
        self._calls = calls
        self._base = base_url.rstrip("/")
        self._table = table
        self._api = Api("ServiceNow", "servicenow.user and servicenow.password", *_credentials(user, password))

    async def create(self, draft: TicketDraft) -> Ticket:
        """Open a record; its reference becomes the correlation id."""
        table = draft.project or self._table
        body = {
            "short_description": _one_line(draft.summary),
            "description": draft.description[:_TEXT],
            "correlation_id": draft.reference,
            "correlation_display": "Rootmend",
            **({"category": draft.kind} if draft.kind else {}),
            **draft.fields,
        }
        reply = await self._calls.call(self._api, "POST", self._records(table), body)
        return self._ticket(table, _part(reply.data, "result"))

    async def find(self, reference: str, project: str = "") -> Ticket | None:
        """Look for the correlation id."""
        table = project or self._table
        found = await self._first(table, f"correlation_id={reference}")
        return self._ticket(table, found) if found else None

    async def comment(self, key: str, text: str) -> None:
        """Add a work note."""
        record = await self._record(key)
        url = f"{self._records(self._table)}/{record['sys_id']}"
        await self._calls.call(self._api, "PATCH", url, {"work_notes": text[:_TEXT]})

    async def transition(self, key: str, state: str, fields: Mapping[str, Any]) -> Ticket:
        """Set the state, by its number or by the name that an incident's state has out of the box."""
        wanted = state if state.lstrip("-").isdigit() else _STATES.get(state.casefold())
        if wanted is None:
            raise Invalid(f"{state!r} is no state of ServiceNow; {did_you_mean(state.casefold(), _STATES)}")
        record = await self._record(key)
        if str(record.get("state")) == wanted:
            return self._ticket(self._table, record)
        url = f"{self._records(self._table)}/{record['sys_id']}"
        # Setting a state twice is setting it once.
        reply = await self._calls.call(self._api, "PATCH", url, {"state": wanted, **fields}, repeatable=True)
        return self._ticket(self._table, _part(reply.data, "result") or record)

    async def _record(self, key: str) -> Mapping[str, Any]:
        found = await self._first(self._table, f"number={key}")
        if not found:
            raise Invalid(f"ServiceNow has no {self._table} {key}")
        return found

    async def _first(self, table: str, query: str) -> Mapping[str, Any] | None:
        wanted = {"sysparm_query": query, "sysparm_fields": "sys_id,number,state", "sysparm_limit": 1}
        reply = await self._calls.call(self._api, "GET", f"{self._records(table)}?{urlencode(wanted)}", repeatable=True)
        rows = _part(reply.data, "result")
        return rows[0] if isinstance(rows, list) and rows else None

    def _records(self, table: str) -> str:
        return f"{self._base}/api/now/table/{quote(table, safe='')}"

    def _ticket(self, table: str, record: Any) -> Ticket:
        if not isinstance(record, Mapping) or not record.get("number"):
            raise Invalid("ServiceNow answered without a number")
        where = f"{self._base}/nav_to.do?uri={quote(table)}.do%3Fsys_id%3D{record.get('sys_id', '')}"
        return Ticket(str(record["number"]), where, str(record.get("state") or ""))


def _credentials(user: str, secret: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """The header, and what must never be shown."""
    if not user:
        return {"Authorization": f"Bearer {secret}"}, (secret,)
    encoded = base64.b64encode(f"{user}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}, (encoded, secret)


def _part(data: Any, *path: str) -> Any:
    for name in path:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data


def _names(way: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(filter(None, (_part(way, "to", "name"), way.get("name"))))


def _label(text: str) -> str:
    """Labels hold no spaces, and quotes would end a query."""
    return re.sub(r"[^A-Za-z0-9_.:/-]+", "-", text)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_SUMMARY]
