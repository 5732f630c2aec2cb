"""What commands share: settings, connections, and how results are shown.

Everything heavy is imported inside the functions: ``rb --help`` must answer at once.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from redis.asyncio import Redis as RedisClient
    from rich.console import Console

    from safety.redis_gate import RedisGate
    from services.graph.connect import Graph
    from services.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """Options that every command knows."""

    config: Path | None = None
    debug: bool = False


_NO_OPTIONS = GlobalOptions()
_options: ContextVar[GlobalOptions] = ContextVar("rb_options", default=_NO_OPTIONS)


class CommandError(Exception):
    """The command cannot do what was asked.

    Args:
        message: one clear paragraph for people.
        code: 1 it did not hold, 2 wrong use or bad configuration.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def set_options(options: GlobalOptions) -> None:
    """Called once by ``main`` with what stood on the command line."""
    _options.set(options)


def settings_for(_ctx: typer.Context | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings of this call: ``--config`` and the overrides of the command over environment and file.

    Args:
        overrides: nested by group, such as ``{"kubernetes": {"context": context}}``; None stands for "not given".

    Raises:
        ConfigError: with all problems; ``main`` shows them and ends with 2.
    """
    from services.masking import masker  # noqa: PLC0415 - keeps rb --help quick
    from services.secrets.configured import configured_secrets  # noqa: PLC0415 - as above
    from services.settings import load_settings  # noqa: PLC0415 - as above

    settings = load_settings(_options.get().config, overrides)
    for secret in configured_secrets(settings):
        masker.register(secret)
    return settings


def config_file() -> Path | None:
    """The settings file that counts for this call."""
    from services.config_files import find_settings_file  # noqa: PLC0415 - keeps rb --help quick

    return find_settings_file(_options.get().config, os.environ, Path.cwd())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end."""
    return asyncio.run(work)


def whoami() -> str:
    """The name under which an answer is recorded when none is given."""
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # a container without a passwd entry
        raise CommandError("this user has no name: say who you are with --by", 2) from error


@asynccontextmanager
async def open_graph(settings: Settings) -> AsyncIterator[Graph]:
    """The graph, closed afterwards. Its errors say when Neo4j is away."""
    from services import connections  # noqa: PLC0415 - keeps rb --help quick

    graph = connections.open_graph(settings, command=True)
    critical: list[bool] = []
    graph.segments.on_critical = lambda: critical.append(True)
    try:
        yield graph
    finally:
        if critical:
            await _seal(settings, graph)
        await graph.close()


async def _seal(settings: Settings, graph: Graph) -> None:
    """Seal at once what this command put on record, where this host keeps a book; elsewhere a service does soon."""
    from executor.errors import RemediationError  # noqa: PLC0415 - keeps rb --help quick
    from services.audit.books import BookFile  # noqa: PLC0415 - as above
    from services.audit.keys import open_key  # noqa: PLC0415 - as above
    from services.audit.sealing import Sealer  # noqa: PLC0415 - as above

    audit = settings.audit
    try:
        if audit.book.exists() and audit.key.exists():
            await Sealer(graph, BookFile(audit.book), open_key(audit.key)).close()
    except (RemediationError, OSError) as error:
        # Done is done: what the command was for has happened, and is on record.
        typer.echo(f"what was put on record is not sealed yet: {error}", err=True)


@asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[RedisClient]:
    """The Redis client, closed afterwards."""
    from redis.asyncio import Redis  # noqa: PLC0415 - keeps rb --help quick

    client = Redis.from_url(settings.redis.url.get_secret_value(), socket_connect_timeout=3, socket_timeout=3)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def open_gate(settings: Settings) -> AsyncIterator[RedisGate]:
    """The gate with its pause switch."""
    from services import connections  # noqa: PLC0415 - keeps rb --help quick
    from services.clock import SystemClock  # noqa: PLC0415 - as above

    async with open_redis(settings) as client, open_graph(settings) as graph:
        yield connections.open_gate(settings, client, graph, SystemClock(), command=True)


def console(*, err: bool = False, live: bool = False) -> Console:
    """A rich console: colours on a terminal only, and never with --no-color.

    Args:
        err: on standard error.
        live: what is drawn moves the cursor, and its author made every text of others harmless.
    """
    from rich.console import Console  # noqa: PLC0415 - keeps rb --help quick

    from services.cli.terminal import Harmless  # noqa: PLC0415 - as above

    out = sys.stderr if err else sys.stdout
    terminal = out.isatty()
    file = out.unfiltered if live and isinstance(out, Harmless) else None
    # A pipe has no width: whatever reads it wants whole values.
    return Console(file=file, stderr=err, highlight=False, soft_wrap=True, width=None if terminal else 1000)


def print_json(value: Any) -> None:
    """A result for machines, on standard output."""
    import orjson  # noqa: PLC0415 - keeps rb --help quick

    from services.cli.terminal import escaped_json  # noqa: PLC0415 - as above
    from services.masking import masker  # noqa: PLC0415 - as above

    text = orjson.dumps(masker.data(value), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str).decode()
    typer.echo(escaped_json(text))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "nothing") -> None:
    """A result for people, on standard output."""
    from rich import box  # noqa: PLC0415 - keeps rb --help quick
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    from services.cli.terminal import harmless  # noqa: PLC0415 - as above
    from services.masking import masker  # noqa: PLC0415 - as above

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")  # an id that is cut off is of no use
    for row in rows:
        # As text, never as markup: names come from outside.
        table.add_row(*(Text(harmless(masker.text(str(cell)))) for cell in row))
    out = console()
    if table.row_count:
        out.print(table, soft_wrap=False)
    else:
        out.print(Text(empty))


def note(text: str) -> None:
    """A remark for people, on standard error, so that standard output stays a result."""
    from services.cli.terminal import harmless  # noqa: PLC0415 - keeps rb --help quick

    typer.echo(harmless(text), err=True)
