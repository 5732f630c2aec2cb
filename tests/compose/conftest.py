"""Fixtures of the local stack: throw-away state folders, and stacks that are gone after the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compose import processes, stack
from compose.addresses import Addresses


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose processes are ended after the test, whatever it did."""
    folder = tmp_path / ".rootmend"
    yield folder
    processes.stop([process for _, process in processes.marked(folder / "stack")], grace=5)


@pytest.fixture
def up(state: Path) -> Callable[..., Addresses]:
    """Brings parts of a stack up in the throw-away folder, as processes."""
    return lambda *names, **options: stack.up(names, state=state, engine="process", **options)


@pytest.fixture(scope="session")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """A practice cluster of its own for the tests of its behaviour."""
    folder = tmp_path_factory.mktemp("practice") / ".rootmend"
    try:
        yield stack.up(["cluster"], state=folder, engine="process")
    finally:
        stack.down(folder, wipe=True)
