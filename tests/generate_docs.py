"""Writes the generated pages of docs/ again: ``make docs``. Tests keep each in step with the code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

DOCS = Path(__file__).parents[1] / "docs"


def schema() -> str:
    """The JSON Schema of runbooks, for editors."""
    from runbooks.schema import runbook_schema  # noqa: PLC0415 - what is written decides what is imported

    return json.dumps(runbook_schema(), indent=2) + "\n"


def policies() -> str:
    """The JSON Schema of policies, for editors."""
    from services.policies.model import policies_schema  # noqa: PLC0415 - as above

    return json.dumps(policies_schema(), indent=2) + "\n"


def actions() -> str:
    """The page of the actions: its introduction is written by people, the rest comes from the declarations."""
    from executor.actions import action_table_markdown, default_actions  # noqa: PLC0415 - as above

    introduction = (DOCS / "actions.md").read_text(encoding="utf-8").partition("| action |")[0]
    return introduction + action_table_markdown(default_actions())


def rules() -> str:
    """The page of the rules that runbooks are checked by."""
    from runbooks.rules import RULES  # noqa: PLC0415 - as above

    introduction = """\
# Rules

What `rb validate` finds in runbooks, made from `runbooks/rules.py` by `make docs`. Errors keep a runbook from loading;
warnings do not. `rb lint --explain CODE` tells the same on the command line.
"""
    head = "\n| code | | what | why | what to do |\n|---|---|---|---|---|\n"
    rows = ((rule.code, rule.severity, rule.title, rule.why, rule.advice) for rule in RULES.values())
    lines = (" | ".join(str(cell).replace("|", "\\|") for cell in row) for row in rows)
    return introduction + head + "".join(f"| {line} |\n" for line in lines)


def pages() -> Mapping[str, Callable[[], str]]:
    """What is generated, by file name."""
    import docs_catalog  # noqa: PLC0415 - found on the path that is set above
    import docs_coverage  # noqa: PLC0415 - found on the path that is set above
    import docs_failpoints  # noqa: PLC0415 - as above
    import docs_metrics  # noqa: PLC0415 - found on the path that is set above
    import docs_settings  # noqa: PLC0415 - as above

    return {
        "settings.md": docs_settings.render,
        "metrics.md": docs_metrics.render,
        "actions.md": actions,
        "runbook.schema.json": schema,
        "policies.schema.json": policies,
        "rules.md": rules,
        "coverage.md": docs_coverage.render,
        "reliability.md": docs_failpoints.render,
        **docs_catalog.pages(),
    }


def main() -> None:
    """Write the pages that changed, and name them."""
    for name, render in pages().items():
        path, text = DOCS / name, render()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
