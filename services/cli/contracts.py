"""``rb contracts``: the message contracts as AsyncAPI, or one of them as JSON Schema."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    """How the document is written."""

    YAML = "yaml"
    JSON = "json"


def contracts(
    format: Annotated[Format, typer.Option(help="yaml or json.")] = Format.YAML,  # noqa: A002 - the option's name
    schema: Annotated[str, typer.Option(help="Only this message, as JSON Schema: rca_result, decisions, ...")] = "",
    *,
    rest: Annotated[bool, typer.Option("--openapi", help="The REST API instead, as OpenAPI 3.1.")] = False,
) -> None:
    """Print the message contracts: AsyncAPI 3.0, made from the models that read and write them.

    Examples:
        rb contracts > asyncapi.yaml

        rb contracts --openapi > openapi.yaml

        rb contracts --format json --schema rca_result
    """
    from services.intake.asyncapi import asyncapi, message_names, message_schema  # noqa: PLC0415 - keeps rb --help quick

    if rest:
        if schema:
            print("rb contracts: --openapi and --schema exclude each other", file=sys.stderr)
            raise typer.Exit(2)
        from services.api.openapi import openapi  # noqa: PLC0415 - as above

        print(_written(openapi(), format), end="")
        return
    document = message_schema(schema) if schema else asyncapi()
    if document is None:
        print(f"rb contracts: no message is called {schema}; there are {', '.join(message_names())}", file=sys.stderr)
        raise typer.Exit(2)
    print(_written(document, format), end="")


def _written(document: dict[str, object], how: Format) -> str:
    if how is Format.JSON:
        return json.dumps(document, indent=2) + "\n"
    import yaml  # noqa: PLC0415 - keeps rb --help quick

    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    return text
