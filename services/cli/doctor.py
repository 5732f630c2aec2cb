"""``rb doctor --deep``: whether the installation that the settings name works, and its parts agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from services.cli import identity, runtime

if TYPE_CHECKING:
    from services.doctor.model import Finding
    from services.kubernetes.cluster import KubernetesCluster
    from services.settings import Settings

_COLOURS = {"ok": "green", "note": "yellow", "bad": "red"}


def deep(*, as_json: bool) -> None:
    """Look at everything and print what was found.

    Raises:
        Exit: with 1 when something is bad.
        CommandError: the caller may not.
        ConfigError: the settings cannot be used.
    """
    from safety.permissions import Permission  # noqa: PLC0415 - keeps rb --help quick

    identity.require(Permission.EXECUTIONS_LIST)
    found = runtime.run(_examine(runtime.settings_for()))
    bad = any(one.state.value == "bad" for one in found)
    if as_json:
        rows = [{"name": one.name, "state": one.state.value, "detail": one.detail, "do": one.do} for one in found]
        runtime.print_json({"ok": not bad, "findings": rows})
    else:
        for one in found:
            word = typer.style(f"{one.state.value:<6}", fg=_COLOURS[one.state.value])
            typer.echo(f"{word}{one.name:<20} {one.detail}")
            if one.do:
                typer.echo(f"{'':<27}{one.do}")
    raise typer.Exit(1 if bad else 0)


async def _examine(settings: Settings) -> Sequence[Finding]:
    from safety.keys import Keys  # noqa: PLC0415 - as above
    from services.audit.verifying import Verification  # noqa: PLC0415 - as above
    from services.bootstrap import trusted_keys  # noqa: PLC0415 - keeps rb --help quick
    from services.cli.orphans import open_mending  # noqa: PLC0415 - as above
    from services.doctor import consistency, stores, transport  # noqa: PLC0415 - as above
    from services.doctor.model import examined  # noqa: PLC0415 - as above
    from services.kubernetes.connect import connect  # noqa: PLC0415 - as above

    found: list[Finding] = []
    found += await examined("kafka", "look at kafka.bootstrap_servers", lambda: transport.kafka(settings.kafka))
    async with runtime.open_graph(settings) as graph, runtime.open_redis(settings) as redis:
        found += await examined("neo4j", "look at neo4j.uri", lambda: stores.neo4j(graph))
        primed = Keys(settings.redis.prefix).primed
        found += await examined("redis", "look at redis.url", lambda: stores.redis_store(redis, primed))
        cluster = None
        try:
            chosen = settings.kubernetes
            cluster = await connect(chosen.kubeconfig, chosen.context, chosen.practice_id)
            opened = cluster
            found += await examined("kubernetes rights", "is it running?", lambda: _rights(settings, opened))
        except Exception as error:  # noqa: BLE001 - whatever it was, it is what people need to know
            found.append(_away("kubernetes", error))
        found += await examined("clocks", "see above", lambda: consistency.clocks(graph, redis, cluster))
        if cluster is not None:
            await cluster.close()
        async with open_mending() as mending:
            found += await examined("orphans", "see above", lambda: consistency.orphans(mending))
        verification = Verification(graph, [settings.audit.book], trusted_keys(settings))
        found += await examined("audit trail", "see above", lambda: consistency.audit(graph, verification))
    return [*found, *stores.disk([settings.audit.folder.expanduser()])]


def _away(name: str, error: Exception) -> Finding:
    from services.doctor.model import Finding, State  # noqa: PLC0415 - keeps rb --help quick
    from services.logs import masker  # noqa: PLC0415 - as above

    told = masker.text(f"{type(error).__name__}: {error}")[:300]
    return Finding(name, State.BAD, f"could not be looked at: {told}", "look at kubernetes.context and kubeconfig")


async def _rights(settings: Settings, cluster: KubernetesCluster) -> Sequence[Finding]:
    from executor.actions import action_schemas  # noqa: PLC0415 - keeps rb --help quick
    from runbooks.loader import load_folder  # noqa: PLC0415 - as above
    from services.doctor.consistency import rights  # noqa: PLC0415 - as above
    from services.kubernetes.impersonation import Accounts  # noqa: PLC0415 - as above
    from services.plugins import all_actions  # noqa: PLC0415 - as above
    from services.rbac.accounts import account_of, account_rules  # noqa: PLC0415 - as above

    actions = all_actions()
    known, _ = load_folder(*settings.runbooks.folders, actions=action_schemas(actions))
    rules, accounts = account_rules(settings), Accounts(cluster)
    runbooks = {name: one.runbook for name, one in known.items()}
    return await rights(
        runbooks, actions, lambda one: accounts(one) if one else cluster, lambda runbook: account_of(runbook, rules)
    )
