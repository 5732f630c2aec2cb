# ruff: noqa: E501 - the lines of a page are as long as they are
"""Writes docs/settings.md from the models, so that it cannot say anything else than the code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from services.cli.config import written
from services.settings import Settings

_INTRO = """# Settings

<!-- Written by `make docs` from services/settings_model.py. -->

Later sources win, key by key: defaults, one YAML file, `ROOTMEND_...` variables, the command line. The file is the first of

1. `--config FILE`
2. `ROOTMEND_CONFIG`
3. `rootmend.yaml` in the working folder
4. `stack/rootmend.yaml` in `ROOTMEND_STATE`, else in the nearest `.rootmend/` upward: the local stack that `rb up` started

and counts as a whole; files are not mixed. Paths in the file are relative to the file.

```yaml
kafka:
  bootstrap_servers: kafka-1:9093,kafka-2:9093
  client: {security.protocol: SASL_SSL, sasl.mechanism: SCRAM-SHA-512, sasl.username: rootmend}
matching:
  window: 10m
```

The same by variable, `__` between the levels; lists with commas or as JSON, mappings as JSON:

```
ROOTMEND_KAFKA__BOOTSTRAP_SERVERS=kafka-1:9093,kafka-2:9093
ROOTMEND_KAFKA__CLIENT='{"sasl.password": "..."}'
ROOTMEND_MATCHING__BRIDGE__DEADLINE=3m
```

A key or variable that means nothing stops the start, with its place and the nearest valid name; so does a value that cannot
work. `rb config check` says all of it at once, `rb config show` prints what is in force with secrets masked. Durations are
written `30s`, `5m`, `1h30m`; a bare number is seconds.

Variables that are no settings: `ROOTMEND_CONFIG`, `ROOTMEND_STATE` and `ROOTMEND_CACHE` (folders of the local stack),
`ROOTMEND_MAVEN_URL`, `ROOTMEND_PYPI_URL`, `ROOTMEND_NPM_URL` (where its servers and Chromium are fetched), `ROOTMEND_SECRET_*` (values of `{{ secrets.NAME }}`),
`ROOTMEND_TOKEN` (who `rb` is, see [access.md](access.md)).
"""


def render() -> str:
    """The page."""
    sections = [_INTRO]
    for name, info in Settings.model_fields.items():
        sections.append(f"## {name}\n\n{info.description}.\n")
        rows = [
            "| key | type | default | |",
            "|---|---|---|---|",
            *_rows(f"{name}.", info.annotation, info.get_default()),
        ]
        sections.append("\n".join(rows) + "\n")
    return "\n".join(sections)


def _rows(prefix: str, group: Any, values: Any) -> Iterator[str]:
    """The keys of a group; ``values`` holds its defaults, which may be others than those of its fields."""
    for name, info in group.model_fields.items():
        value = getattr(values, name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _rows(f"{prefix}{name}.", info.annotation, value)
        else:
            text = (info.description or "").replace("|", "\\|")
            yield f"| `{prefix}{name}` | {_type(info.annotation)} | {_default(value)} | {text} |"


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin is tuple:
        return "list"
    if origin is dict:
        return "mapping"
    if origin is Union or str(origin) == "<class 'types.UnionType'>":
        return _type(next(a for a in arguments if a is not type(None)))
    names = {"str": "text", "int": "number", "float": "number", "bool": "true/false", "timedelta": "duration"}
    names |= {"SecretStr": "secret", "Path": "path"}
    return names.get(annotation.__name__, annotation.__name__)


def _default(value: Any) -> str:
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if value is None or value in ("", (), {}):
        return ""
    if isinstance(value, timedelta):
        return f"`{written(value)}`"
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{value}`" if isinstance(value, str | Path) else f"`{json.dumps(value)}`"
