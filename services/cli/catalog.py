"""``rb catalog``: runbooks of others, and one's own for others."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from services.catalogs.index import Entry
    from services.catalogs.install import Trusted
    from services.catalogs.known import Known
    from services.catalogs.publish import Catalog
    from services.catalogs.sources import Source

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Unsigned = Annotated[
    bool, typer.Option("--allow-unsigned", help="Take it although nobody who is trusted has signed it.")
]
From = Annotated[str, typer.Option("--from", help="Only this catalog, by name.", show_default=False)]
_ARCHIVES = (".tar.gz", ".tgz")


def catalog_add(
    name: Annotated[str, typer.Argument(help="What you want to call it.", show_default=False)],
    url: Annotated[
        str,
        typer.Argument(
            help="Git repository (URL or path), oci://REGISTRY/NAME[:TAG], archive, or the URL of an index.json.",
            show_default=False,
        ),
    ],
    *,
    key: Annotated[str, typer.Option("--key", help="The public key that must have signed it.")] = "",
    allow_unsigned: Unsigned = False,
) -> None:
    """Remember a catalog, after its signature has been checked.

    Without --key any key of catalogs.trusted_keys in the settings will do.

    Examples:
      rb catalog add team https://git.example.com/sre/runbooks.git --key ed25519:...
      rb catalog add vendor oci://registry.example.com/runbooks:stable
    """
    from services.catalogs.known import Known, add, state_file  # noqa: PLC0415 - keeps rb --help quick
    from services.catalogs.signing import read_public  # noqa: PLC0415 - as above

    if key:
        read_public(key)
    known = Known(name=name, url=_absolute(url), key=key)
    with _open(known, allow_unsigned=allow_unsigned) as (_, trusted):
        add(state_file(), known)
        typer.echo(f"{name}: {len(trusted.index.entries)} runbooks, {_signed(trusted)}")


def catalog_list(*, as_json: Json = False) -> None:
    """List the catalogs that were added.

    Examples:
      rb catalog list
    """
    from services.catalogs.known import read_known, state_file  # noqa: PLC0415 - keeps rb --help quick

    known = read_known(state_file())
    if as_json:
        runtime.print_json([one.model_dump() for one in known])
    else:
        rows = [(one.name, one.url, one.key or "any of catalogs.trusted_keys") for one in known]
        runtime.print_table(("NAME", "URL", "SIGNED BY"), rows, "no catalog was added: rb catalog add NAME URL")


def catalog_remove(name: Annotated[str, typer.Argument(help="Name of the catalog.", show_default=False)]) -> None:
    """Forget a catalog; what was installed from it stays.

    Examples:
      rb catalog remove team
    """
    from services.catalogs.known import remove, state_file  # noqa: PLC0415 - keeps rb --help quick

    remove(state_file(), name)
    typer.echo(f"{name} is forgotten.")


def catalog_search(
    text: Annotated[str, typer.Argument(help="Words; all must be in id, name, description or tags.")] = "",
    *,
    from_: From = "",
    allow_unsigned: Unsigned = False,
    as_json: Json = False,
) -> None:
    """Search the catalogs.

    A catalog that cannot be reached, or that nobody who is trusted has signed, is told of and left out; the exit code
    is 1 then.

    Examples:
      rb catalog search oom
    """
    from services.catalogs.errors import CatalogError  # noqa: PLC0415 - keeps rb --help quick
    from services.catalogs.index import find  # noqa: PLC0415 - as above

    found: list[tuple[str, Entry]] = []
    wrong = 0
    for known in _chosen(from_):
        try:
            with _open(known, allow_unsigned=allow_unsigned) as (_, trusted):
                found += [(known.name, entry) for entry in find(trusted.index.entries, text)]
        except CatalogError as error:
            wrong += 1
            runtime.note(f"{known.name}: {error}")
    if as_json:
        runtime.print_json([{"catalog": name, **entry.model_dump(exclude={"files"})} for name, entry in found])
    else:
        rows = [(e.id, e.version, name, ", ".join(e.tags), e.name or e.description[:80]) for name, e in found]
        runtime.print_table(("ID", "VERSION", "CATALOG", "TAGS", "WHAT"), rows, "nothing was found")
    raise typer.Exit(int(bool(wrong)))


def catalog_install(
    wanted: Annotated[str, typer.Argument(metavar="ID[@VERSION]", help="The runbook.", show_default=False)],
    *,
    into: Annotated[Path, typer.Option("--into", help="Folder of your runbooks.", show_default=False)],
    from_: From = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that were changed here.")] = False,
    allow_unsigned: Unsigned = False,
    as_json: Json = False,
) -> None:
    """Install a runbook with its acceptance pack into a folder of its own.

    Signature, checksums and the runbook itself are checked before anything is written. Its first lines say where it
    came from. A file that was changed here is not overwritten without --force.

    Examples:
      rb catalog install oomkilled-increase-memory@1.2.0 --from team --into runbooks
    """
    from services.catalogs.errors import CatalogError  # noqa: PLC0415 - keeps rb --help quick
    from services.catalogs.install import checked_files, choose, install  # noqa: PLC0415 - as above

    problems = []
    for known in _chosen(from_):
        try:
            with _open(known, allow_unsigned=allow_unsigned) as (source, trusted):
                entry = choose(trusted.index, wanted, known.name)
                files = checked_files(source, entry, _actions(), known.name)
        except CatalogError as error:
            problems.append(f"{known.name}: {error}")
            continue
        origin = {"from": f"{known.name} {known.url}", "signed-by": trusted.key or "nobody who is trusted"}
        done = install(into, entry, files, origin=origin, force=force)
        told = {
            "id": entry.id,
            "version": entry.version,
            "catalog": known.name,
            "signed_by": trusted.key,
            "folder": str(done.folder),
            "written": sorted(done.written),
            "unchanged": sorted(done.unchanged),
        }
        if as_json:
            runtime.print_json(told)
        else:
            typer.echo(f"{entry.id} {entry.version} in {done.folder}: {len(done.written)} files written")
            typer.echo(f"{_signed(trusted)}; now: rb validate {done.folder}, rb test {done.folder}")
        return
    raise runtime.CommandError("nothing was installed:\n" + "\n".join(f"  {problem}" for problem in problems))


def catalog_publish(
    folder: Annotated[Path, typer.Argument(help="Folder of runbooks.", show_default=False)],
    *,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="An archive (.tar.gz), oci://REGISTRY/NAME[:TAG], oci:FOLDER[:TAG] for an OCI layout, or a folder.",
            show_default=False,
        ),
    ],
    sign: Annotated[Path | None, typer.Option("--sign", help="Private key that signs it.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Make a catalog of a folder of runbooks: an index with checksums, a signature, and the files.

    With the folder itself as output only the index and its signature are written: commit them, and the Git repository
    is a catalog.

    Examples:
      rb catalog publish runbooks -o catalog.tar.gz --sign catalog.key
      rb catalog publish . -o . --sign ~/keys/catalog.key
    """
    from services.catalogs.publish import gather  # noqa: PLC0415 - keeps rb --help quick

    made = gather(folder, _actions(), sign)
    digest = _put(made, output)
    if sign is None:
        runtime.note("It is not signed: who installs from it must say --allow-unsigned.")
    if as_json:
        entries = [entry.model_dump(exclude={"files"}) for entry in made.index.entries]
        runtime.print_json({"output": output, "digest": digest, "signed": sign is not None, "entries": entries})
    else:
        typer.echo(f"{len(made.index.entries)} runbooks in {output}{f' ({digest})' if digest else ''}")


def catalog_keygen(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the private key.", show_default=False)],
) -> None:
    """Make a key that signs catalogs; prints the public key, which others trust.

    Examples:
      rb catalog keygen -o ~/keys/catalog.key
    """
    from services.catalogs.signing import make_key  # noqa: PLC0415 - keeps rb --help quick

    typer.echo(make_key(output.expanduser()))


def _put(made: Catalog, output: str) -> str:
    """Write a catalog where it is wanted; the digest that pins it, where there is one."""
    from services.catalogs import oci, publish_to  # noqa: PLC0415 - keeps rb --help quick
    from services.catalogs.archive import pack  # noqa: PLC0415 - as above
    from services.catalogs.web import open_client  # noqa: PLC0415 - as above

    if output.startswith("oci://"):
        with open_client(output) as client:
            return oci.push(client, output, pack(made.files))
    if output.startswith("oci:"):
        path, _, tag = output.removeprefix("oci:").partition(":")
        return publish_to.layout(Path(path), pack(made.files), tag or "latest")
    if output.endswith(_ARCHIVES):
        return publish_to.file(Path(output), pack(made.files))
    return publish_to.folder(Path(output), made.files)


def _actions() -> Mapping[str, Any]:
    from executor.actions import action_schemas  # noqa: PLC0415 - keeps rb --help quick
    from services.plugins import all_actions  # noqa: PLC0415 - as above

    return action_schemas(all_actions())


def _absolute(url: str) -> str:
    """A path is remembered from the root: the next command may run elsewhere."""
    bare, sep, ref = url.partition("#")
    path = Path(bare).expanduser()
    return f"{path.resolve()}{sep}{ref}" if path.exists() else url


def _chosen(name: str) -> list[Known]:
    from services.catalogs.known import named, read_known, state_file  # noqa: PLC0415 - keeps rb --help quick

    known = [named(state_file(), name)] if name else read_known(state_file())
    if not known:
        raise runtime.CommandError("no catalog was added: rb catalog add NAME URL", 2)
    return known


@contextmanager
def _open(known: Known, *, allow_unsigned: bool) -> Iterator[tuple[Source, Trusted]]:
    from services.catalogs.install import read_trusted  # noqa: PLC0415 - keeps rb --help quick
    from services.catalogs.sources import opened  # noqa: PLC0415 - as above

    keys = [known.key] if known.key else list(runtime.settings_for().catalogs.trusted_keys)
    with opened(known.url) as source:
        yield source, read_trusted(source, known.name, keys, allow_unsigned=allow_unsigned)


def _signed(trusted: Trusted) -> str:
    return f"signed by {trusted.key}" if trusted.key else "signed by nobody who is trusted"
