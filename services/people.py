"""Puts the ways to people together, as far as the settings name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import SecretStr

from executor.people_ports import People, Tickets, TicketSystem
from executor.ports import Clock, Http
from services.json_calls import JsonCalls
from services.mail import MailServer, SmtpMailer
from services.pagerduty import PagerDuty
from services.settings_model import Settings
from services.settings_people import MailSettings
from services.teams import TeamsWebhooks
from services.tickets import Jira, ServiceNow


def make_people(settings: Settings, http: Http, clock: Clock, on_secret: Callable[[str], None]) -> People:
    """The ways that are set up; each of the others says what it lacks when a step asks.

    Args:
        settings: checked already.
        http: outgoing HTTP.
        clock: for pauses between tries.
        on_secret: told each secret, so that logs and records can take it out again.
    """
    calls = JsonCalls(http, clock)
    for secret in _secrets(settings):
        on_secret(secret)
    return People(
        teams=TeamsWebhooks(calls, _plain(settings.teams.webhooks)),
        pager=PagerDuty(calls, _plain(settings.pagerduty.routing_keys), base_url=settings.pagerduty.base_url),
        mailer=SmtpMailer(mail_server(settings.mail), clock),
        tickets=_tickets(settings, calls),
    )


def mail_server(settings: MailSettings) -> MailServer | None:
    """The mail server, if one is named."""
    if not settings.host:
        return None
    return MailServer(
        host=settings.host,
        port=settings.port,
        sender=settings.sender,
        tls=settings.tls,
        user=settings.user,
        password=settings.password.get_secret_value(),
        ca_file=settings.ca_file,
        recipients=settings.to,
    )


def _tickets(settings: Settings, calls: JsonCalls) -> dict[TicketSystem, Tickets]:
    found: dict[TicketSystem, Tickets] = {}
    jira, now = settings.jira, settings.servicenow
    if jira.base_url:
        found["jira"] = Jira(
            calls,
            jira.base_url,
            user=jira.user,
            token=jira.token.get_secret_value(),
            project=jira.project,
            issue_type=jira.issue_type,
        )
    if now.base_url:
        found["servicenow"] = ServiceNow(
            calls, now.base_url, user=now.user, password=now.password.get_secret_value(), table=now.table
        )
    return found


def _plain(secrets: Mapping[str, SecretStr]) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in secrets.items()}


def _secrets(settings: Settings) -> list[str]:
    kept = [
        *settings.teams.webhooks.values(),
        *settings.pagerduty.routing_keys.values(),
        settings.pagerduty.api_token,
        settings.mail.password,
        settings.jira.token,
        settings.servicenow.password,
        *filter(None, (settings.slack.token, settings.slack.app_token, settings.slack.signing_secret)),
    ]
    return [value for secret in kept if (value := secret.get_secret_value())]
