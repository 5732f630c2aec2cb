"""The list of actions shows what a step can really use."""

from __future__ import annotations

import json

import pytest
from pydantic import Field

import executor.actions
from executor.actions.base import Action, Params, Planned
from executor.model import Access
from services.cli import app


class PauseParams(Params):
    """Parameters of the example."""

    deployment: str = Field(description="Which one")
    how: str | None = None


class Freeze(Action[PauseParams]):
    """Freezes a deployment.

    More about it.
    """

    name = "freeze"
    aliases = ("halt",)
    access = Access.WRITE
    idempotent = False
    params_model = PauseParams
    example = "action: freeze"

    async def plan(self, params, facts, world):
        return Planned(params=params.model_dump())


@pytest.fixture
def table(monkeypatch):
    """A table with one action, under its name and its alias."""
    action = Freeze()
    monkeypatch.setattr(executor.actions, "default_actions", lambda: {"freeze": action, "halt": action}, raising=False)


@pytest.mark.parametrize("name", ["freeze", "halt"])
def test_an_action_is_shown_with_parameters_and_example(table, name, capsys):
    """An alias leads to the same action."""
    assert app.main(["actions", name]) == 0
    out = capsys.readouterr().out
    assert "freeze: Freezes a deployment." in out
    assert "may be repeated after a crash: no" in out
    assert "Which one" in out
    assert "action: freeze" in out


def test_each_action_is_listed_once(table, capsys):
    """Aliases are no actions of their own."""
    assert app.main(["actions", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["name"], told["aliases"], told["access"]) == ("freeze", ["halt"], "write")
    assert told["parameters"]["required"] == ["deployment"]


def test_an_unknown_action_names_the_nearest(table, capsys):
    """A slip of the finger is answered with what was meant."""
    assert app.main(["actions", "freez"]) == 2
    assert "did you mean 'freeze'?" in capsys.readouterr().err


def test_the_actions_of_the_product_can_all_be_shown(capsys):
    """Every action has one line about itself and an example."""
    assert app.main(["actions", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"kubectl_patch", "wait", "check_neo4j", "webhook", "slack_notify"} <= {action["name"] for action in told}
    assert [action["name"] for action in told if not (action["description"] and action["example"])] == []
