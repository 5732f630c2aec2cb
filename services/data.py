"""What actions need beside the cluster, made from the settings: metrics, databases, programs, files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from executor.actions.base import World
from executor.ports import Http
from services.beside import FolderFiles
from services.prometheus import MetricsPublisher, PrometheusMetrics
from services.settings import Settings
from services.settings_model import ShellActions
from services.shell import Limits, LocalShell
from services.sql import Database, SqlDatabases

_MIB = 1024 * 1024


def with_data(world: World, settings: Settings, event: Callable[..., None], http: Http) -> World:
    """The world with metrics, databases, programs and files. Nothing connects before a step asks.

    Args:
        world: its secrets are used.
        settings: checked already.
        event: told each number that a runbook publishes.
        http: calls the services that the settings name.
    """
    asked = settings.prometheus
    token = asked.token.get_secret_value() if asked.token else ""
    databases = {
        name: Database(connection.url_secret, connection.write) for name, connection in settings.sql.connections.items()
    }
    return replace(
        world,
        metrics=PrometheusMetrics(http, asked.url, token=token, queries=asked.queries),
        metrics_sink=MetricsPublisher(http, event, pushgateway_url=asked.pushgateway_url, token=token),
        sql=SqlDatabases(databases, world.secrets.get, settings.outgoing.rules()),
        shell=make_shell(settings.actions.shell),  # nosec - a port of this name; it knows no shell
        files=FolderFiles(),
        http_base=settings.http.base_url,
    )


def make_shell(settings: ShellActions) -> LocalShell:
    """Programs on this machine, as far as the settings allow them."""
    limits = Limits(
        seconds=settings.max_seconds,
        memory_bytes=settings.memory_mb * _MIB,
        cpu_seconds=settings.cpu_seconds,
        file_bytes=settings.file_mb * _MIB,
        output_bytes=settings.output_kb * 1024,
        concurrent=settings.max_concurrent,
    )
    return LocalShell(enabled=settings.enabled, allow=settings.allow, limits=limits)
