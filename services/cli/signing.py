"""``rb sign``, ``rb verify`` and ``rb keys``: who has reviewed which runbook."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runbooks.model import LoadedRunbook
    from services.signing.reviewed import Reviewed

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Paths = Annotated[list[Path], typer.Argument(help="Runbook files, or folders of them.", show_default=False)]


def keys_generate(
    path: Annotated[Path, typer.Argument(help="Where the private key goes.", show_default=False)],
) -> None:
    """Make a key that signs runbooks, and print its public half for runbooks.trusted_keys.

    Only its owner can read the file. Keep it away from the machine that runs the pipeline.

    Examples:
      rb keys generate ~/.config/rootmend/review.pem
    """
    from services.catalogs.signing import make_key  # noqa: PLC0415 - keeps rb --help quick

    typer.echo(make_key(path.expanduser()))
    runtime.note(f"The private key is {path}. Sign with: rb sign RUNBOOK --key {path}")


def sign(
    paths: Paths,
    *,
    key: Annotated[Path, typer.Option("--key", help="The private key (rb keys generate).")],
    signer: Annotated[str, typer.Option("--signer", help="Your name, for people.", show_default="who you are")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder for the signatures; left out, beside each runbook.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Sign runbooks that you have reviewed: exactly as they are, with the files beside them that they name.

    Signatures of others and of earlier versions stay. A changed runbook needs a new signature.

    Examples:
      rb sign runbooks/restart-web.yaml --key ~/.config/rootmend/review.pem
      rb sign runbooks/ --key review.pem --signer "Ann Example"
    """
    from datetime import UTC, datetime  # noqa: PLC0415 - keeps rb --help quick

    from services.catalogs.signing import read_private  # noqa: PLC0415 - as above
    from services.signing.signing import Signer, loaded_from  # noqa: PLC0415 - as above
    from services.signing.signing import sign as sign_one  # noqa: PLC0415 - as above

    _refuse_missing(paths)
    who = Signer(read_private(key.expanduser()), signer or runtime.whoami(), datetime.now(UTC))
    # All are read before the first is signed: half a review is none.
    found = list(loaded_from(paths, _actions()))
    if not found:
        raise runtime.CommandError(f"no runbook is under {', '.join(map(str, paths))}", 2)
    rows = []
    for loaded in found:
        where, made = sign_one(loaded, who, output)
        rows.append({"runbook": made.runbook, "sha256": made.sha256, "file": str(where), "revision": made.revision})
    if as_json:
        runtime.print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['runbook']} {row['sha256'][:12]}: {row['file']}")


def verify(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders; left out, runbooks.paths of the settings.")
    ] = None,
    *,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="Public keys that count, instead of runbooks.trusted_keys.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that runbooks are as they were reviewed: signed by a trusted key, or as in the approved revision.

    Exit code 0: all are; 1: at least one is not.

    Examples:
      rb verify
      rb verify runbooks/ --key ed25519:...
    """
    from services.signing.signing import loaded_from  # noqa: PLC0415 - keeps rb --help quick

    settings = runtime.settings_for()
    chosen = settings.runbooks
    folders = paths or list(chosen.folders)
    _refuse_missing(folders)
    reviewed = _reviewed([*folders, *chosen.folders] if paths else folders, key or chosen.trusted_keys, settings)
    signatures = bool(key) or chosen.require_signature != "off" or not chosen.approved_revision
    rows = [_row(one, reviewed, signatures=signatures) for one in loaded_from(folders, _actions())]
    if as_json:
        runtime.print_json(rows)
    else:
        table = [(row["runbook"], row["sha256"][:12], ", ".join(row["signers"]), row["why_not"]) for row in rows]
        runtime.print_table(("RUNBOOK", "VERSION", "SIGNED BY", "PROBLEM"), table, "there are no runbooks")
    if any(row["why_not"] for row in rows):
        raise typer.Exit(1)


def unreviewed(paths: Sequence[Path]) -> Iterator[str]:
    """What the settings say of runbooks that nobody has reviewed, for ``rb validate``; bad settings say nothing."""
    from runbooks.findings import RunbookError  # noqa: PLC0415 - keeps rb --help quick
    from runbooks.loader import load_file, runbook_files  # noqa: PLC0415 - as above
    from services.config_files import ConfigError  # noqa: PLC0415 - as above
    from services.signing.errors import SigningError  # noqa: PLC0415 - as above

    try:
        settings = runtime.settings_for()
    except ConfigError as error:
        yield f"whether they are reviewed cannot be told, the settings cannot be used: {error.problems[0]}"
        return
    chosen = settings.runbooks
    if chosen.require_signature == "off" and not chosen.approved_revision:
        return
    try:
        reviewed = _reviewed([*paths, *chosen.folders], chosen.trusted_keys, settings)
    except SigningError as error:
        yield f"whether they are reviewed cannot be told: {error}"
        return
    for path in runbook_files(paths):
        try:
            loaded = load_file(path)
        except RunbookError:
            continue  # told already
        if why := reviewed.refused(loaded):
            yield f"{path} will not run: {why}"
        elif reviewed.warns and (why := reviewed.unsigned(loaded)):
            yield f"{path}: {why}"


def _row(loaded: LoadedRunbook, reviewed: Reviewed, *, signatures: bool) -> dict[str, Any]:
    wrong = [reviewed.unsigned(loaded)] if signatures else []
    signers = [one.signer for one in reviewed.signers(loaded)]
    problems = [why for why in (*wrong, reviewed.unapproved(loaded)) if why]
    facts = {"runbook": loaded.runbook.id, "sha256": loaded.sha, "file": str(loaded.path)}
    return {**facts, "signers": signers, "why_not": "; ".join(problems)}


def _reviewed(folders: Sequence[Path], keys: Sequence[str], settings: Any) -> Reviewed:
    from services.signing.reviewed import Requirement, Reviewed  # noqa: PLC0415 - keeps rb --help quick

    chosen = settings.runbooks
    unique = list(dict.fromkeys(folders))
    reviewed = Reviewed(unique, keys, Requirement(chosen.require_signature), chosen.approved_revision)
    reviewed.refresh()
    return reviewed


def _refuse_missing(paths: Sequence[Path]) -> None:
    if missing := [path for path in paths if not path.exists()]:
        raise runtime.CommandError(f"{missing[0]} does not exist", 2)


def _actions() -> Any:
    from executor.actions import action_schemas  # noqa: PLC0415 - keeps rb --help quick
    from services.plugins import all_actions  # noqa: PLC0415 - as above

    return action_schemas(all_actions())
