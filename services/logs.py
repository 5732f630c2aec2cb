"""Structured logs: one line for each event, with the ids that tie a signal to its steps, and no secrets.

JSON when nobody sits in front of it, human on a terminal. Logs of libraries take the same way, so that a line of
librdkafka or the Neo4j driver carries the same ids and is masked the same.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Literal, TextIO

import structlog

MASK = "***"

_SECRET_KEY = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret|token|api[_.-]?key|private[_.-]?key|credential|authorization|cookie|dsn)s?$"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_URL_PASSWORD = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://[^/\s:@]*):[^/\s@]+@")
_LEAST_SECRET = 4
"""A shorter value would mask ordinary words."""

_NOISY = ("httpx", "httpcore", "kubernetes", "neo4j.notifications", "faststream", "asyncio", "uvicorn.access")


def is_secret_name(name: str) -> bool:
    """Whether a key's name says that its value is a secret."""
    return _SECRET_KEY.search(name) is not None


class Masker:
    """Takes secrets out of values: by the name of their key, by known values, by how credentials look.

    Known values are registered when they are read (``services.secrets``), so that a secret that a server repeats
    in an error message is masked too.
    """

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def register(self, value: str) -> None:
        """Never show this value again."""
        if len(value) >= _LEAST_SECRET and value not in self._values:
            self._values.add(value)
            # Longest first, so that a secret that begins another one does not leave the rest of it behind.
            self._pattern = re.compile("|".join(map(re.escape, sorted(self._values, key=len, reverse=True))))

    def text(self, text: str) -> str:
        """The text without secrets."""
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        if "://" in text:
            text = _URL_PASSWORD.sub(rf"\g<scheme>:{MASK}@", text)
        return _BEARER.sub(rf"\1 {MASK}", text)

    def value(self, value: Any) -> Any:
        """A value of any shape without secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {k: self.named(k, v) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        if isinstance(value, bool | int | float) or value is None:
            return value
        return self.text(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))

    def named(self, name: object, value: Any) -> Any:
        """A value under a name that may itself say "secret"."""
        if isinstance(name, str) and is_secret_name(name) and value not in (None, "", False, True):
            return MASK
        return self.value(value)

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """As a structlog processor, last before rendering."""
        for name in event:
            if name not in {"level", "timestamp", "_record", "_from_structlog"}:
                event[name] = self.named(name, event[name])
        return event


masker = Masker()
"""The one of this process: a secret that is read anywhere is masked everywhere."""


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
        return [drop, structlog.processors.format_exc_info, masker, plain]
    return [drop, structlog.processors.dict_tracebacks, masker, structlog.processors.JSONRenderer(default=str)]


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
