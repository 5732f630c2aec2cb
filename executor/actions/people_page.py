"""Page the people on call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from executor.actions.base import Params, Planned, Stamp, TargetFacts, World
from executor.actions.needs import NO_RIGHTS
from executor.actions.people import Message, without_secrets
from executor.people_ports import Page, PageAction, Severity


class PagerDutyParams(Params):
    """Parameters of ``pagerduty``."""

    event: PageAction = Field("trigger", description="trigger, acknowledge or resolve")
    summary: str = Field("", description="One line; needed for trigger")
    severity: Severity = Field("error", description="critical, error, warning or info")
    dedup_key: str = Field(
        "", max_length=255, description="Events of one key are one alert; left out, the id of the execution"
    )
    service: str = Field("default", min_length=1, description="Name of a key in the setting `pagerduty.routing_keys`")
    source: str = Field("", description="What is affected; left out, the target of the incident")
    component: str = Field("", description="Part that is broken")
    group: str = Field("", description="What it belongs to")
    kind: str = Field("", description="Of the problem; `class` in PagerDuty")
    details: dict[str, Any] = Field({}, description="Further facts")

    @model_validator(mode="after")
    def _trigger_says_why(self) -> Self:
        if self.event == "trigger" and not self.summary:
            raise ValueError("an event that triggers needs a summary")
        return self


class PagerDutyEvent(Message):
    """Trigger, acknowledge or resolve an alert in PagerDuty.

    The dedup key makes all events of an execution one alert, so an event may be sent again after a crash.
    """

    name = "pagerduty"
    aliases = ("pagerduty_event", "notification/pagerduty")
    idempotent = True
    params_model = PagerDutyParams
    rights = NO_RIGHTS
    example = """\
action: pagerduty
params: {event: trigger, severity: critical, summary: "{{ target.name }} was not fixed by {{ execution.runbook }}"}
"""

    async def plan(self, params: PagerDutyParams, facts: TargetFacts, world: World) -> Planned:
        """Nothing changes; the source is filled in."""
        given = dict(without_secrets(params).params)
        return Planned(params={**given, "source": params.source or str(facts.target)})

    async def send(self, params: PagerDutyParams, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """Send."""
        page = Page(
            params.event,
            params.dedup_key or stamp.execution,
            params.summary,
            params.severity,
            params.source,
            params.service,
            params.component,
            params.group,
            params.kind,
            params.details,
        )
        return {"event": params.event, "dedup_key": await world.people.pager.send(page)}
