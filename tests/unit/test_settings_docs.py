"""The pages about settings and metrics say what the code says."""

from __future__ import annotations

from pathlib import Path

import docs_metrics
import docs_settings
import pytest
from pydantic import BaseModel

from services.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("name", "page"), [("settings", docs_settings), ("metrics", docs_metrics)])
def test_the_page_is_what_the_code_says(name, page):
    """`make docs` writes it anew after a change."""
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == page.render()


def fields(model, prefix=""):
    for name, info in model.model_fields.items():
        yield prefix + name, info
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from fields(info.annotation, f"{prefix}{name}.")


@pytest.mark.parametrize(("name", "info"), [pytest.param(n, i, id=n) for n, i in fields(Settings)])
def test_every_setting_is_described(name, info):
    """A key that nobody explains is used wrongly."""
    assert (info.description or "").strip()
