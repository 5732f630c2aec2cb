"""Teams, PagerDuty, Jira and ServiceNow as their documentation describes them, as far as we speak to them."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any

from fakes.web import Asked, Told

TEAMS_MOST = 28 * 1024
JIRA_TRANSITIONS = {
    "To Do": [{"id": "11", "name": "Start", "to": {"name": "In Progress"}}],
    "In Progress": [
        {"id": "21", "name": "Finish", "to": {"name": "Done"}},
        {"id": "22", "name": "Stop", "to": {"name": "To Do"}},
    ],
    "Done": [{"id": "31", "name": "Reopen", "to": {"name": "To Do"}}],
}


@dataclass(slots=True)
class TeamsServer:
    """An incoming webhook: takes cards, refuses what is too large, and answers a plain 1."""

    cards: list[Any] = field(default_factory=list)

    def __call__(self, asked: Asked) -> Told:
        if len(asked.body.encode()) > TEAMS_MOST:
            return Told(413, "too large")
        attachment = asked.data["attachments"][0]
        if asked.data["type"] != "message" or attachment["contentType"] != "application/vnd.microsoft.card.adaptive":
            return Told(400, "Bad payload received by generic incoming webhook.")
        self.cards.append(attachment["content"])
        return Told(200, "1")


@dataclass(slots=True)
class PagerDutyServer:
    """Events API v2: alerts by dedup key."""

    key: str = "R0UTING"
    alerts: dict[str, str] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)

    def __call__(self, asked: Asked) -> Told:
        event = asked.data
        problems = self._problems(asked, event)
        if problems:
            return Told(400, {"status": "invalid event", "message": "Event object is invalid", "errors": problems})
        self.events.append(event)
        state = {"trigger": "triggered", "acknowledge": "acknowledged", "resolve": "resolved"}[event["event_action"]]
        if event["event_action"] == "trigger" or event["dedup_key"] in self.alerts:
            self.alerts[event["dedup_key"]] = state
        return Told(202, {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]})

    def _problems(self, asked: Asked, event: dict[str, Any]) -> list[str]:
        problems = []
        if (asked.method, asked.path) != ("POST", "/v2/enqueue"):
            problems.append("wrong address")
        if event.get("routing_key") != self.key:
            problems.append(f"invalid routing key {event.get('routing_key')}")
        payload = event.get("payload", {})
        if event.get("event_action") == "trigger":
            problems += [f"{name} is missing" for name in ("summary", "source", "severity") if not payload.get(name)]
            if len(payload.get("summary", "")) > 1024:
                problems.append("summary is too long")
        if payload.get("severity", "error") not in ("critical", "error", "warning", "info"):
            problems.append("severity")
        return problems


@dataclass(slots=True)
class JiraServer:
    """REST API 2 of Jira. ``cloud`` knows the newer search only, else the older."""

    user: str = "bot@example.com"
    token: str = "jira-t0ken"
    cloud: bool = True
    issues: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __call__(self, asked: Asked) -> Told:
        wanted = base64.b64encode(f"{self.user}:{self.token}".encode()).decode()
        if asked.headers.get("authorization") != (f"Basic {wanted}" if self.user else f"Bearer {self.token}"):
            return Told(401, {"errorMessages": ["You are not authenticated."]})
        path = asked.path.removeprefix("/rest/api/2")
        if asked.method == "POST" and path == "/issue":
            return self._create(asked.data["fields"])
        if path == ("/search/jql" if self.cloud else "/search"):
            return self._search(asked.query["jql"])
        if found := re.fullmatch(r"/issue/([A-Z]+-\d+)(/comment|/transitions)?", path):
            return self._issue(asked, self.issues.get(found[1]), found[2] or "")
        return Told(404, {"errorMessages": ["no such address"]})

    def _create(self, fields: dict[str, Any]) -> Told:
        if fields["project"]["key"] != "OPS":
            return Told(400, {"errors": {"project": "valid project is required"}})
        if any(" " in label for label in fields["labels"]):
            return Told(400, {"errors": {"labels": "The label contains spaces"}})
        key = f"OPS-{len(self.issues) + 1}"
        self.issues[key] = {"key": key, "fields": {**fields, "status": {"name": "To Do"}}, "comments": []}
        return Told(201, {"id": "1", "key": key, "self": f"/rest/api/2/issue/{key}"})

    def _search(self, query: str) -> Told:
        found = re.fullmatch(r'labels = "([^"]*)"', query)
        if found is None:
            return Told(400, {"errorMessages": [f"Error in the JQL Query: {query}"]})
        rows = [issue for issue in self.issues.values() if found[1] in issue["fields"]["labels"]]
        return Told(200, {"issues": rows})

    def _issue(self, asked: Asked, issue: dict[str, Any] | None, part: str) -> Told:
        if issue is None:
            return Told(404, {"errorMessages": ["Issue does not exist or you do not have permission to see it."]})
        status = issue["fields"]["status"]
        if part == "/comment":
            issue["comments"].append(asked.data["body"])
            return Told(201, {"id": "7"})
        if part == "/transitions" and asked.method == "GET":
            return Told(200, {"transitions": JIRA_TRANSITIONS[status["name"]]})
        if part == "/transitions":
            ways = {way["id"]: way["to"]["name"] for way in JIRA_TRANSITIONS[status["name"]]}
            issue["fields"].update(asked.data.get("fields", {}))
            issue["fields"]["status"] = {"name": ways[asked.data["transition"]["id"]]}
            return Told(204)
        return Told(200, issue)


@dataclass(slots=True)
class ServiceNowServer:
    """The Table API of ServiceNow."""

    user: str = "bot"
    password: str = "n0w-pass"
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __call__(self, asked: Asked) -> Told:
        wanted = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if asked.headers.get("authorization") != (f"Basic {wanted}" if self.user else f"Bearer {self.password}"):
            return Told(401, {"error": {"message": "User Not Authenticated"}, "status": "failure"})
        found = re.fullmatch(r"/api/now/table/incident(?:/(\w+))?", asked.path)
        if found is None:
            return Told(400, {"error": {"message": "Invalid table"}, "status": "failure"})
        if asked.method == "POST":
            number = len(self.records) + 1
            record = {"sys_id": f"{number:032x}", "number": f"INC{number:07}", "state": "1", "notes": []}
            self.records[record["sys_id"]] = record | asked.data
            return Told(201, {"result": self.records[record["sys_id"]]})
        if asked.method == "PATCH":
            record = self.records[found[1]]
            if "work_notes" in asked.data:
                record["notes"].append(asked.data["work_notes"])
            record.update({name: value for name, value in asked.data.items() if name != "work_notes"})
            return Told(200, {"result": record})
        name, _, value = asked.query["sysparm_query"].partition("=")
        return Told(200, {"result": [row for row in self.records.values() if row.get(name) == value]})
