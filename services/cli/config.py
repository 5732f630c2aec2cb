"""``rb config show``, ``rb config check`` and ``rb version``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from services.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def config_show(*, as_json: Json = False) -> None:
    """Print the settings in force, from file, environment and defaults, with secrets masked.

    The output is a valid settings file, apart from the masked values.

    Examples:
      rb config show
      rb --config staging.yaml config show --json
    """
    settings = runtime.settings_for()
    values = shown(settings)
    if as_json:
        runtime.print_json(values)
        return
    import yaml  # noqa: PLC0415 - keeps rb --help quick

    runtime.note(f"# from {runtime.config_file() or 'defaults (there is no settings file)'}, with ROOTMEND_* on top")
    typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120), nl=False)


def config_check(*, as_json: Json = False) -> None:
    """Check that the settings can be used: every key known, every value valid, every file they name there.

    Nothing is connected to; `rb status` and /readyz do that.

    Examples:
      rb config check
      rb --config production.yaml config check
    """
    from services.access.opening import remarks  # noqa: PLC0415 - as above
    from services.cli.signing import unreviewed  # noqa: PLC0415 - as above
    from services.config_files import ConfigError  # noqa: PLC0415 - keeps rb --help quick

    warnings: tuple[str, ...] = ()
    try:
        settings = runtime.settings_for()
        warnings = (*remarks(settings), *unreviewed(settings.runbooks.folders))
        problems = (*missing_files(settings), *_bad_roles(settings))
    except ConfigError as error:
        problems = error.problems
    if as_json:
        told = {"valid": not problems, "file": runtime.config_file(), "problems": problems, "warnings": warnings}
        runtime.print_json(told)
    elif problems:
        raise ConfigError(problems)
    else:
        for warning in warnings:
            runtime.note(f"warning: {warning}")
        typer.echo(f"The settings can be used ({runtime.config_file() or 'defaults only'}).")
    if problems:
        raise typer.Exit(2)


def version() -> None:
    """Print the version.

    Examples:
      rb version
    """
    from importlib.metadata import version as installed  # noqa: PLC0415 - keeps rb --help quick

    typer.echo(f"rootmend {installed('rootmend')}")


def _bad_roles(settings: Settings) -> tuple[str, ...]:
    """What keeps the roles from being used."""
    from services.access.opening import open_access  # noqa: PLC0415 - keeps rb --help quick
    from services.config_files import ConfigError  # noqa: PLC0415 - as above

    try:
        open_access(settings)
    except ConfigError as error:
        return error.problems
    return ()


def missing_files(settings: Settings) -> Iterator[str]:
    """What the settings name and is not there."""
    for path in settings.runbooks.folders:
        if not path.exists():
            yield f"runbooks.paths: there is no {path}"
    for path in settings.policies.files:
        if not path.exists():
            yield f"policies.paths: there is no {path}"
    kubeconfig = settings.kubernetes.kubeconfig
    if kubeconfig is not None and not kubeconfig.is_file():
        yield f"kubernetes.kubeconfig: there is no file {kubeconfig}"
    if settings.neo4j.ca_file is not None and not settings.neo4j.ca_file.is_file():
        yield f"neo4j.ca_file: there is no file {settings.neo4j.ca_file}"
    if settings.mail.ca_file is not None and not settings.mail.ca_file.is_file():
        yield f"mail.ca_file: there is no file {settings.mail.ca_file}"
    if settings.screenshots.browser is not None and not settings.screenshots.browser.is_file():
        yield f"screenshots.browser: there is no file {settings.screenshots.browser}"
    yield from missing_for_secrets(settings)


def missing_for_secrets(settings: Settings) -> Iterator[str]:
    """What keeps secrets from being found, as far as it shows without asking anybody."""
    from services.config_files import ConfigError  # noqa: PLC0415 - keeps rb --help quick
    from services.secrets.make import checked_file  # noqa: PLC0415 - as above

    chosen = settings.secrets
    if chosen.folder is not None and not chosen.folder.is_dir():
        yield f"secrets.folder: there is no folder {chosen.folder}"
    if chosen.file is not None:
        try:
            checked_file(chosen, chosen.file)
        except ConfigError as error:
            yield from error.problems


def shown(settings: Settings) -> dict[str, Any]:
    """The settings as they may be shown: plain values, secrets masked."""
    from services.logs import MASK, Masker  # noqa: PLC0415 - keeps rb --help quick

    masker = Masker()

    def plain(value: Any) -> Any:
        if isinstance(value, timedelta):
            return written(value)
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, Mapping):
            return {k: masker.named(k, plain(v)) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if hasattr(value, "get_secret_value"):
            return MASK if value.get_secret_value() else ""
        return value if isinstance(value, bool | int | float | str) or value is None else str(value)

    values = {group: {k: plain(v) for k, v in content.items()} for group, content in settings.model_dump().items()}
    # An address is worth seeing; only the password in it is not.
    values["redis"]["url"] = masker.text(settings.redis.url.get_secret_value())
    return values


def written(length: timedelta) -> str:
    """A duration as people write it: ``1h30m``."""
    milliseconds = round(length.total_seconds() * 1000)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
