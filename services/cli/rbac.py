"""``rb rbac needed``: the rights on the API server that a runbook needs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbooks.model import LoadedRunbook, Runbook
    from services.rbac.roles import Rule, Subject


class Output(StrEnum):
    """How rights are written."""

    YAML = "yaml"
    TABLE = "table"


def rbac_needed(
    runbook: Annotated[str, typer.Argument(help="Id of a runbook of the settings, or a file.", show_default=False)],
    *,
    param: Annotated[
        list[str] | None, typer.Option("--param", help="NAME=VALUE of a parameter that says what is touched.")
    ] = None,
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", "-n", help="Namespaces of the incidents; left out, all of them.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Kinds that it acts on; left out, as its trigger says.")
    ] = None,
    service_account: Annotated[
        str, typer.Option("--service-account", help="NAMESPACE/NAME that gets the rights.")
    ] = "",
    user: Annotated[str, typer.Option("--user", help="Or a user.")] = "",
    format: Annotated[Output, typer.Option("--format", help="Manifests, or a table.")] = Output.YAML,  # noqa: A002 - the option's name
) -> None:
    """Print the Kubernetes Roles that a runbook needs, and nothing beyond: its steps, dry runs and the way back.

    What its text does not tell is said as a comment. Looking at incidents and verification need the pipeline's own
    account, see docs/least-rights.md. Without --service-account the rights go to the account that
    kubernetes.impersonate of the settings names for the runbook, else to the pipeline's own.

    Examples:
      rb rbac needed oomkilled-increase-memory -n shop | kubectl apply -f -
      rb rbac needed runbooks/restart.yaml --target StatefulSet --format table
    """
    from executor.rights import needs_of, target_kinds  # noqa: PLC0415 - keeps rb --help quick
    from services.plugins import all_actions  # noqa: PLC0415 - as above
    from services.rbac.roles import rules_of  # noqa: PLC0415 - as above

    loaded, known = _found(runbook)
    kinds = target_kinds(loaded.runbook, target or ())
    needs = needs_of(loaded.runbook, all_actions(), _params(loaded.runbook, param or ()), kinds, known)
    rules = rules_of(needs.found, namespace or ())
    if format is Output.TABLE:
        _table(rules, needs.doubts)
        return
    _yaml(rules, loaded.runbook, needs.doubts, _subject(loaded.runbook, service_account, user))


def _yaml(rules: Sequence[Rule], runbook: Runbook, doubts: Sequence[str], subject: Subject) -> None:
    import yaml  # noqa: PLC0415 - keeps rb --help quick

    from services.rbac.roles import documents  # noqa: PLC0415 - as above

    head = [f"# What {runbook.id} {runbook.version} needs.", *(f"# Not certain: {doubt}" for doubt in doubts)]
    if not rules:
        head.append("# It asks nothing of the API server.")
    print("\n".join(line.replace("\n", " ") for line in head))
    found = documents(rules, runbook.id, subject)
    # Aliases in place of what is said twice would be right, and hard to review.
    print("---\n".join(yaml.dump(one, Dumper=_plain_dumper(), sort_keys=False) for one in found), end="")


def _plain_dumper() -> Any:
    import yaml  # noqa: PLC0415 - keeps rb --help quick

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return Plain


def _table(rules: Sequence[Rule], doubts: Sequence[str]) -> None:
    rows = [(one.namespace or "(all)", one.group or "(core)", one.resource, ", ".join(one.verbs)) for one in rules]
    runtime.print_table(("NAMESPACE", "GROUP", "RESOURCE", "VERBS"), rows, "it asks nothing of the API server")
    for doubt in doubts:
        runtime.note(f"not certain: {doubt}")


def _found(name: str) -> tuple[LoadedRunbook, Mapping[str, Runbook]]:
    """The runbook, and those that it can call."""
    from executor.actions import action_schemas  # noqa: PLC0415 - keeps rb --help quick
    from runbooks.findings import did_you_mean  # noqa: PLC0415 - as above
    from runbooks.loader import load_file, load_folder  # noqa: PLC0415 - as above
    from services.plugins import all_actions  # noqa: PLC0415 - as above

    actions, path = action_schemas(all_actions()), Path(name)
    folders = list(runtime.settings_for().runbooks.folders)
    if path.is_file():
        own = load_file(path, actions=actions)
        near, _ = load_folder(path.parent, *folders, actions=actions)
        return own, {**{key: one.runbook for key, one in near.items()}, own.runbook.id: own.runbook}
    known, _ = load_folder(*folders, actions=actions)
    if name not in known:
        raise runtime.CommandError(f"there is no file and no runbook {name!r}; {did_you_mean(name, known)}", 2)
    return known[name], {key: one.runbook for key, one in known.items()}


def _params(runbook: Runbook, given: Sequence[str]) -> dict[str, Any]:
    from runbooks.findings import did_you_mean  # noqa: PLC0415 - keeps rb --help quick

    values = {one.name: one.default for one in runbook.parameters if one.default is not None}
    for text in given:
        name, equals, value = text.partition("=")
        known = [one.name for one in runbook.parameters]
        if not equals or name not in known:
            raise runtime.CommandError(f"--param {text}: expected NAME=VALUE; {did_you_mean(name, known)}", 2)
        values[name] = value
    return values


def _subject(runbook: Runbook, service_account: str, user: str) -> Subject:
    from services.rbac.accounts import ANY, account_of, account_rules  # noqa: PLC0415 - keeps rb --help quick
    from services.rbac.roles import Subject  # noqa: PLC0415 - as above

    if service_account and user:
        raise runtime.CommandError("give --service-account or --user", 2)
    if user:
        return Subject(user)
    if service_account:
        namespace, slash, name = service_account.partition("/")
        if not (namespace and slash and name):
            raise runtime.CommandError(f"--service-account {service_account}: expected NAMESPACE/NAME", 2)
        return Subject(name, namespace)
    account = account_of(runbook, account_rules(runtime.settings_for()), (ANY,))
    if account is None:
        return Subject("rootmend", "rootmend-system")
    begin, _, rest = account.user.partition("system:serviceaccount:")
    if begin or not rest:
        return Subject(account.user)
    namespace, _, name = rest.partition(":")
    return Subject(name, namespace)
