"""The commands of the local stack: up, down, status, logs, doctor.

Kept light, because `rb --help` must answer at once: every command imports what it works with when it runs.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class EngineChoice(StrEnum):
    """What runs the servers."""

    auto = "auto"
    process = "process"
    docker = "docker"


State = Annotated[
    Path | None,
    typer.Option("--state", help="State folder. Default: $ROOTMEND_STATE, else the nearest .rootmend/ upward."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def up(
    names: Annotated[
        list[str] | None, typer.Argument(help="redis, kafka, neo4j, cluster. Default: all.", show_default=False)
    ] = None,
    *,
    engine: Annotated[EngineChoice, typer.Option(help="What runs the servers.")] = EngineChoice.auto,
    nodes: Annotated[int, typer.Option(min=1, max=50, help="Nodes of the practice cluster.")] = 3,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Start the local stack and wait until every server answers.

    Neo4j with Browser, Kafka, Redis and a practice Kubernetes cluster, on loopback only. What runs already is left
    running; what is dead or broken is started again. The first time takes some minutes (downloads, and a build of the
    practice cluster), later ones some seconds.

    Examples:
      rb up                      everything
      rb up redis neo4j          a part
      rb up cluster --nodes 5    a larger practice cluster
    """
    with _errors(as_json=as_json):
        from compose import stack  # noqa: PLC0415 - see the module's docstring
        from compose.progress import Show  # noqa: PLC0415 - see the module's docstring

        with Show(quiet=as_json) as show:
            found = stack.up(names or stack.ALL, state=state, engine=engine.value, nodes=nodes, on_event=show)
        if as_json:
            _print_json(found.model_dump(mode="json"))
            return
        _print_addresses(found)


def browser(*, as_json: Json = False) -> None:
    """Print the Chromium that takes pictures of pages; where the machine has none, one is fetched into the cache.

    No rights are needed: 70 MB, checked by hash, for Linux on x86_64. Steps find it by themselves.

    Examples:
      rb browser
    """
    with _errors(as_json=as_json):
        from compose import chromium  # noqa: PLC0415 - see the module's docstring
        from compose.progress import Show  # noqa: PLC0415 - see the module's docstring

        with Show(quiet=as_json) as show:
            found = chromium.ensure(on_event=show)
        if as_json:
            _print_json({"browser": str(found)})
        else:
            typer.echo(found)


def down(
    *,
    wipe: Annotated[bool, typer.Option("--wipe", help="Also remove all data, logs and passwords.")] = False,
    state: State = None,
) -> None:
    """Stop the local stack. Its data stays, and the next `rb up` finds it again.

    Examples:
      rb down            stop
      rb down --wipe     stop and forget everything
    """
    with _errors():
        from compose import stack  # noqa: PLC0415 - see the module's docstring
        from compose.progress import Show  # noqa: PLC0415 - see the module's docstring

        with Show() as show:
            ended = stack.down(state, wipe=wipe, on_event=show)
        typer.echo(f"{ended} stopped." if ended else "Nothing was running.")


def status(*, state: State = None, as_json: Json = False) -> None:
    """Ask every server of the local stack how it is. Exit code 1 when one that was started does not answer.

    Examples:
      rb status
      rb status --json
    """
    with _errors(as_json=as_json):
        from dataclasses import asdict  # noqa: PLC0415 - see the module's docstring

        from compose import stack  # noqa: PLC0415 - see the module's docstring

        servers = stack.status(state)
        found = stack.addresses(state)
        held = all(server.state == "up" for server in servers if server.wanted) and found is not None
        if as_json:
            rows = [asdict(server) for server in servers]
            _print_json({"up": held, "servers": rows, "addresses": found.model_dump(mode="json") if found else None})
        else:
            _print_status(servers)
            if found:
                _print_addresses(found)
    raise typer.Exit(0 if held else 1)


def logs(
    name: Annotated[str, typer.Argument(help="redis, kafka, neo4j, etcd, kube-apiserver, kwok, ...")],
    *,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="How many lines of the end to show.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is written from now on.")] = False,
    state: State = None,
) -> None:
    """Show the log of one server.

    Examples:
      rb logs kafka
      rb logs kube-apiserver -n 200
      rb logs kwok --follow
    """
    with _errors():
        from compose import server_logs  # noqa: PLC0415 - see the module's docstring

        for line in server_logs.read(name, lines=lines, follow=follow, state=state):
            typer.echo(line)


def doctor(
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Look at the installation that the settings name instead, while it works.")
    ] = False,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Say what this machine lacks for the local stack, and what to do. Exit code 1 when something is missing.

    With --deep it asks Kafka, Neo4j, Redis and the API server of the settings: topics, lag, schema, indexes,
    persistence, eviction, rights of the runbooks, clocks, orphans, the audit trail, disk. Exit code 1 when something is
    bad.

    Examples:
      rb doctor
      rb doctor --deep --json
    """
    if deep:
        from importlib import import_module  # noqa: PLC0415 - see the module's docstring

        # By name, as rb itself does: the stack does not depend on the product that is run on it.
        import_module("services.cli.doctor").deep(as_json=as_json)
        return
    with _errors(as_json=as_json):
        from dataclasses import asdict  # noqa: PLC0415 - see the module's docstring

        from compose.doctor import examine  # noqa: PLC0415 - see the module's docstring

        findings = examine(state)
        missing = [finding for finding in findings if finding.state == "missing"]
        if as_json:
            _print_json({"ok": not missing, "findings": [asdict(finding) for finding in findings]})
        else:
            _print_findings(findings)
    raise typer.Exit(1 if missing else 0)


@contextmanager
def _errors(*, as_json: bool = False) -> Iterator[None]:
    """Turn what went wrong into words and an exit code: 2 for wrong use, 1 for what did not hold."""
    from compose.errors import StackError, WrongUse  # noqa: PLC0415 - see the module's docstring

    try:
        yield
    except StackError as error:
        if as_json:
            _print_json(error.as_dict())
        else:
            _print_error(error.what, error.log, error.hint)
        raise typer.Exit(2 if isinstance(error, WrongUse) else 1) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted. What was started stays; `rb up` goes on from here, `rb down` ends it.", err=True)
        raise typer.Exit(1) from None


def _print_error(what: str, log: tuple[str, ...], hint: str) -> None:
    typer.secho(what, fg="red", err=True)
    for line in log:
        typer.echo(f"  | {line}", err=True)
    if hint:
        typer.echo(hint, err=True)


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, default=str))


def _print_addresses(found: Any) -> None:
    rows = {
        "Kafka": found.kafka and found.kafka.bootstrap_servers,
        "Neo4j": found.neo4j and f"{found.neo4j.uri}  (user {found.neo4j.user}; password in the settings file)",
        "Neo4j Browser": found.neo4j and found.neo4j.browser_url,
        "Redis": found.redis and found.redis.url,
        "Kubernetes": found.kubernetes and f"KUBECONFIG={found.admin_kubeconfig}",
        "Settings": found.settings_file,
    }
    for name, value in rows.items():
        if value:
            typer.echo(f"{name:<14} {value}")


def _print_status(servers: Any) -> None:
    colours = {"up": "green", "silent": "red", "down": None}
    for server in servers:
        where = " ".join(f"{name}={port}" for name, port in (server.ports or {}).items())
        word = typer.style(f"{server.state:<7}", fg=colours[server.state])
        typer.echo(f"{server.name:<26} {word} {where} {server.detail}".rstrip())


def _print_findings(findings: Any) -> None:
    colours = {"ok": "green", "note": "yellow", "missing": "red"}
    for finding in findings:
        typer.echo(
            f"{typer.style(f'{finding.state:<8}', fg=colours[finding.state])}{finding.name:<10} {finding.detail}"
        )
        if finding.do:
            typer.echo(f"{'':<18} {finding.do}")


app = typer.Typer(help="The local stack.", no_args_is_help=True)
for _command in (up, down, status, logs, doctor):
    app.command()(_command)


if __name__ == "__main__":
    app(prog_name="rb", args=sys.argv[1:])
