"""Structured logs: one line for each event, with the ids that tie a signal to its steps, and no secrets.

JSON when nobody sits in front of it, human on a terminal. Logs of libraries take the same way, so that a line of
librdkafka or the Neo4j driver carries the same ids and is masked the same.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TextIO

import structlog

from services.masking import MASK, Masker, is_secret_name, masker

__all__ = ["MASK", "LogHooks", "Masker", "configure", "correlated", "is_secret_name", "masker"]

_TRACES = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
"""Without local variables: what a function held at the moment of an error may be a secret that nobody knows of."""

_NOISY = ("httpx", "httpcore", "kubernetes", "neo4j.notifications", "faststream", "asyncio", "uvicorn.access")


@contextmanager
def correlated(**ids: str | None) -> Iterator[None]:
    """Put ids on every line that is logged inside, also in tasks that are started there.

    Args:
        ids: ``event_id``, ``incident_id``, ``execution_id``, ``step``, ``tenant``; empty ones are left out.
    """
    with structlog.contextvars.bound_contextvars(**{name: value for name, value in ids.items() if value}):
        yield


def configure(
    level: str = "info", style: Literal["auto", "json", "human"] = "auto", stream: TextIO | None = None
) -> None:
    """Set up logging for this process, structlog's and the standard library's.

    Args:
        level: least severity (debug, info, warning, error).
        style: ``auto`` takes ``human`` on a terminal.
        stream: standard error when left out: standard output belongs to results.
    """
    stream = stream or sys.stderr
    human = style == "human" or (style == "auto" and stream.isatty())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_shared(), processors=_renderers(human, stream))
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    logging.captureWarnings(capture=True)


def _shared() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _renderers(human: bool, stream: TextIO) -> list[structlog.typing.Processor]:
    drop = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    # Exceptions become text before masking: a driver's message may repeat a password.
    if human:
        plain = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
        return [drop, structlog.processors.format_exc_info, masker, _harmless, plain]
    return [drop, _TRACES, masker, structlog.processors.JSONRenderer(default=str)]


def _harmless(_logger: Any, _name: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Texts as one line each, without what a terminal obeys: an alert could write lines of its own into the log."""
    return {name: _one_line(value, name) for name, value in line.items()}


def _one_line(value: Any, name: str) -> Any:
    if isinstance(value, str | bool | int | float | type(None)):
        text = value if isinstance(value, str) else None
    else:
        text = repr(value)
    if text is None or (text.isprintable() and text is value):
        return value
    kept = "\n" if name == "exception" else ""
    return "".join(char if char.isprintable() or char in kept else " " for char in text)


class LogHooks:
    """Hooks that write a line for each event of the pipeline."""

    _QUIET = frozenset(
        {
            "approvals.waiting",
            "dependency",
            "first_step",
            "gate.asked",
            "input.received",
            "lag",
            "runbooks.loaded",
            "step.started",
            "verified",
        }
    )

    def __init__(self) -> None:
        self._log = structlog.stdlib.get_logger("rootmend.events")

    def event(self, name: str, **facts: Any) -> None:
        """Something happened; what happens with every message is for ``debug``."""
        level = logging.DEBUG if name in self._QUIET else logging.INFO
        # "event" is the name of structlog's own first argument.
        self._log.log(level, name, **{("about" if k == "event" else k): v for k, v in facts.items()})
