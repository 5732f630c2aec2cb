"""The top-level names are ours alone."""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path

import pytest

PACKAGES = ("services", "matcher", "executor", "safety", "runbooks", "cypher", "compose")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PACKAGES)
def test_each_top_level_name_resolves_to_this_project(name):
    """A foreign package called safety or executor would silently replace ours."""
    module = importlib.import_module(name)
    assert [Path(p).resolve() for p in module.__path__] == [ROOT / name]


def test_no_foreign_distribution_ships_files_under_our_names():
    """An installed distribution that owns one of our names would overwrite us at the next install."""
    owners = importlib.metadata.packages_distributions()
    assert {name: owners.get(name, []) for name in PACKAGES if set(owners.get(name, [])) - {"rootmend"}} == {}


@pytest.mark.parametrize("name", PACKAGES)
def test_each_package_says_that_it_is_typed(name):
    """Users of the packages get our types."""
    assert (ROOT / name / "py.typed").exists()
