"""The clients of a process: one for what runbooks call, one for the services that the settings name."""

from __future__ import annotations

from collections.abc import Iterator

from services.http_client import HttpClient
from services.settings import Settings


def runbook_client(settings: Settings) -> HttpClient:
    """Outgoing HTTP of runbooks: the rules with the exceptions of the settings, and ``http.base_url``."""
    chosen = settings.outgoing
    rules = chosen.rules().and_services([settings.http.base_url])
    return HttpClient(rules, ca_file=chosen.ca_file, max_bytes=chosen.max_bytes)


def service_client(settings: Settings) -> HttpClient:
    """Outgoing HTTP to services: each may be where the settings say, also on this machine."""
    chosen = settings.outgoing
    rules = chosen.rules().and_services(service_urls(settings))
    return HttpClient(rules, ca_file=chosen.ca_file, max_bytes=chosen.max_bytes)


def service_urls(settings: Settings) -> Iterator[str]:
    """The addresses of services that the settings name."""
    yield from (settings.prometheus.url, settings.prometheus.pushgateway_url)
    yield from (settings.pagerduty.base_url, settings.jira.base_url, settings.servicenow.base_url)
    yield from (address.get_secret_value() for address in settings.teams.webhooks.values())
    yield from (place for place in settings.gate.freeze_calendars if "://" in place)
