"""Open, comment and move tickets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from executor.actions.base import Found, Params, Recovery, Stamp, World
from executor.actions.needs import NO_RIGHTS
from executor.actions.people import Message
from executor.model import PlannedStep
from executor.people_ports import TicketDraft, Tickets, TicketSystem

_NEEDS = {"create": ("summary",), "comment": ("key", "comment"), "transition": ("key", "state")}


class TicketParams(Params):
    """Parameters of ``ticket``."""

    system: TicketSystem | None = Field(None, description="jira or servicenow; left out, the one that is set up")
    operation: Literal["create", "comment", "transition"] = Field("create", description="What to do")
    key: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_-]*$",
        description="Of the ticket (`OPS-12`, `INC0010001`), for comment and transition",
    )
    project: str = Field(
        "", pattern=r"^[A-Za-z0-9_]*$", description="Jira's project, ServiceNow's table; left out, as in the settings"
    )
    type: str = Field("", description="Jira's issue type, ServiceNow's category")
    summary: str = Field("", description="One line, for create")
    description: str = Field("", description="Text of a new ticket")
    labels: tuple[str, ...] = Field((), description="Jira's labels")
    comment: str = Field("", description="Text of a comment; with a transition, added before it")
    state: str = Field("", description="Where a transition leads, by name (`Done`, `Resolved`)")
    fields: dict[str, Any] = Field({}, description="Further fields, as the system names them")

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if missing := [name for name in _NEEDS[self.operation] if not getattr(self, name)]:
            raise ValueError(f"{self.operation} needs {' and '.join(missing)}")
        return self


class TicketAction(Message):
    """Open a ticket in Jira or ServiceNow, comment it, or move it to another state.

    A new ticket carries the execution and the step, so that after a crash it is looked for before anybody is asked.
    """

    name = "ticket"
    aliases = ("create_ticket", "ticket/create")
    params_model = TicketParams
    rights = NO_RIGHTS
    example = """\
action: ticket
params:
  system: jira
  project: OPS
  summary: "{{ target.name }} grew to {{ new_memory }}"
  description: "Cause: {{ incident.reason }}. Please look for the leak."
output_var: ticket
"""

    async def send(self, params: TicketParams, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """Do it."""
        system, tickets = world.people.ticket_system(params.system)
        output = {"system": system, "operation": params.operation}
        if params.operation == "create":
            made = await tickets.create(_draft(params, stamp))
            return {**output, "key": made.key, "url": made.url}
        if params.comment:
            await tickets.comment(params.key, params.comment)
        if params.operation == "comment":
            return {**output, "key": params.key}
        moved = await tickets.transition(params.key, params.state, params.fields)
        return {**output, "key": moved.key, "url": moved.url, "state": moved.status or params.state}

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """A new ticket can be found again; of the rest nobody knows."""
        params = TicketParams.model_validate(step.params)
        if params.operation != "create":
            return Recovery(Found.UNKNOWN)
        system, tickets = world.people.ticket_system(params.system)
        return await _looked_up(tickets, system, params, stamp)


def _draft(params: TicketParams, stamp: Stamp) -> TicketDraft:
    reference = reference_of(stamp)
    footer = f"\n\nRootmend execution {stamp.execution}, step {stamp.step}"
    return TicketDraft(
        params.summary,
        params.description + footer,
        reference,
        params.project,
        params.type,
        params.labels,
        params.fields,
    )


def reference_of(stamp: Stamp) -> str:
    """By which a ticket is found again."""
    return f"rootmend-{stamp.execution}-{stamp.step}"


async def _looked_up(tickets: Tickets, system: str, params: TicketParams, stamp: Stamp) -> Recovery:
    found = await tickets.find(reference_of(stamp), params.project)
    if found is None:
        return Recovery(Found.UNKNOWN, detail=f"({system} does not know it yet)")
    return Recovery(
        Found.DONE, {"system": system, "operation": "create", "key": found.key, "url": found.url}, f"it is {found.key}"
    )
