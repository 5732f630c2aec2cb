"""Seeded mistakes: whatever is broken in a good runbook is found, or provably means the same as before.

The good runbooks are the catalog, the templates of ``rb new``, the examples of the documentation, and one that uses
every key of the language. ``fakes/mistakes.py`` breaks them.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
from fakes.language import at, keys, places, replaced, used, without
from fakes.mistakes import KINDS, missing_keys
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executor.actions import action_schemas, default_actions
from runbooks.findings import RunbookError
from runbooks.loader import load_folder, load_text
from runbooks.yaml_source import parse_yaml

ROOT = Path(__file__).parents[2]
EVERYTHING = Path(__file__).parent / "runbooks_good" / "everything.yaml"
MADE = re.compile(r"@[A-Z]+@")
FENCE = re.compile(r"^```yaml\n(runbook:\n.*?)^```", re.MULTILINE | re.DOTALL)
CORPUS = (Path(__file__).parent / "runbooks_bad" / "cases.txt").read_text()
TAKES_AWAY = {"missing_keys", "empty_values", "no_ceiling"}
"""Kinds that may take an earlier mistake away with what they leave out."""
SCALAR = re.compile(r"^(\s+)(?:- )?([a-z_]+): ([^\[{>|&*#]+)$")


def _good():
    yield "everything", EVERYTHING.read_text()
    for path in sorted((ROOT / "runbooks" / "catalog").rglob("runbook.y*ml")):
        yield path.parent.name, path.read_text()
    for path in sorted((ROOT / "runbooks" / "templates").glob("*.y*ml")):
        yield f"template-{path.stem}", MADE.sub("abc", path.read_text())
    for path in sorted((ROOT / "docs").glob("*.md")):
        for number, text in enumerate(FENCE.findall(path.read_text())):
            yield f"{path.name}-{number}", text


GOOD = dict(_good())


@cache
def actions():
    """The actions of the product, as `rb validate` knows them."""
    return action_schemas(default_actions())


def body(text):
    return parse_yaml(text).value["runbook"]


def load(runbook):
    return load_text(json.dumps({"runbook": runbook}), actions=actions())


def found(runbook):
    """The findings of a runbook; empty when nothing is wrong with it."""
    try:
        return load(runbook).findings
    except RunbookError as error:
        return error.findings


def same(one, other):
    """Whether two runbooks mean the same."""
    return load(one).runbook.model_dump() == load(other).runbook.model_dump()


def harmless(runbook, where, broken):
    """Why nothing has to be found, proven; empty when it should have been.

    A key that is left out takes the value that the published schema gives as its default; an empty list means what
    leaving it out means.
    """
    for place in places(runbook):
        if ".".join(map(str, place.path)) != where or not place.fixed or place.required:
            continue
        left_out = without(runbook, place.path)
        if broken == left_out and "default" in place.schema:
            written = replaced(runbook, place.path, place.schema["default"])
            return "takes its default" if same(broken, written) else ""
        if broken == replaced(runbook, place.path, []):
            return "as if left out" if same(broken, left_out) else ""
    return ""


def missed(runbook, kind):
    """What a kind of mistake broke without anybody noticing, and how many there were."""
    broken = list(KINDS[kind](runbook))
    return [where for where, one in broken if not found(one) and not harmless(runbook, where, one)], len(broken)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_mistake_of_a_kind_is_found_wherever_it_is_made(kind):
    """In a runbook that uses every key, each place is broken in turn; what is not found is proven to mean the same."""
    wrong, tried = missed(body(GOOD["everything"]), kind)
    assert wrong == []
    assert tried > 0


def test_the_runbook_with_everything_uses_every_key_of_the_language():
    """A new key is broken by the tests from its first day."""
    plain = {key for key in keys() if "=" not in key}
    assert plain - used(body(GOOD["everything"])) == set()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.data())
def test_mistakes_in_real_runbooks_are_found_also_two_at_once(data):
    """Catalog, templates and documentation: one mistake, or one on top of another, which must not hide both."""
    runbook = body(GOOD[data.draw(st.sampled_from(sorted(GOOD)), label="runbook")])
    kind, where, broken = draw_mistake(data, runbook, sorted(KINDS))
    if not found(broken):
        assert harmless(runbook, where, broken), (kind, where)
    if data.draw(st.booleans(), label="another"):
        again, where, both = draw_mistake(data, broken, sorted(KINDS.keys() - TAKES_AWAY))
        assert found(both), (kind, again, where)


def breakable(kind, runbook):
    """What a kind makes of a runbook that may be broken so far that there is nothing left to break."""
    try:
        return list(KINDS[kind](runbook))
    except (AttributeError, KeyError, TypeError):
        return []


def draw_mistake(data, runbook, kinds):
    """One mistake of some kind at some place."""
    made = {kind: breakable(kind, runbook) for kind in kinds}
    kind = data.draw(st.sampled_from([kind for kind in kinds if made[kind]]), label="kind")
    where, broken = data.draw(st.sampled_from(made[kind]), label="where")
    return kind, where, broken


@pytest.mark.parametrize("name", sorted(GOOD))
def test_no_false_alarm(name):
    """Good runbooks of the catalog, the templates and the documentation have no finding, not even a warning."""
    assert [str(finding) for finding in load_text(GOOD[name], actions=actions()).findings] == []


def test_a_line_that_is_there_twice_is_found_at_its_place():
    """Each `key: value` of the file is repeated in turn."""
    lines = GOOD["everything"].splitlines()
    tried = 0
    for index, line in enumerate(lines):
        match = SCALAR.match(line)
        if match is None or match[3].strip().endswith(":"):
            continue
        again = " " * (line.index(match[2])) + line.lstrip(" -")
        text = "\n".join([*lines[: index + 1], again, *lines[index + 1 :]])
        with pytest.raises(RunbookError) as refused:
            load_text(text, actions=actions())
        assert ("RB005", index + 2) in {(one.code, one.line) for one in refused.value.findings}, again
        tried += 1
    assert tried > 80


def test_a_tab_anywhere_in_the_indentation_is_found():
    """Each line is indented with a tab in turn."""
    lines = GOOD["everything"].splitlines()
    for index, line in enumerate(lines):
        if not line.startswith("  "):
            continue
        text = "\n".join([*lines[:index], "\t" + line.lstrip(), *lines[index + 1 :]])
        with pytest.raises(RunbookError) as refused:
            load_text(text, actions=actions())
        assert "RB004" in {one.code for one in refused.value.findings}, line


def test_one_id_twice_is_found_and_says_whether_the_version_is_the_same(tmp_path):
    """In a folder both files are named, so that nobody has to search."""
    (tmp_path / "a.yaml").write_text(GOOD["everything"])
    (tmp_path / "b.yaml").write_text(GOOD["everything"])
    _, findings = load_folder(tmp_path, actions=actions())
    assert [one.code for one in findings] == ["RB414"]
    assert "also in version 2.3.1" in findings[0].message
    (tmp_path / "b.yaml").write_text(GOOD["everything"].replace("version: 2.3.1", "version: 2.3.2"))
    assert "there in version 2.3.1" in load_folder(tmp_path, actions=actions())[1][0].message


def test_leaving_out_a_required_key_is_never_called_harmless():
    """The proof of harmlessness itself does not let through what it must not."""
    runbook = body(GOOD["everything"])
    required = [p.path for p in places(runbook) if p.fixed and p.required]
    assert len(required) > 30
    for path in required:
        assert found(without(runbook, path)), path
    name = "safety.cooldown"
    other = replaced(runbook, ("safety", "cooldown"), "1s")
    assert at(other, ("safety", "cooldown")) == "1s"
    assert harmless(runbook, name, other) == ""


def test_there_are_far_more_than_120_seeded_mistakes():
    """The corpus that was written by hand, and what the kinds make of the runbook with everything."""
    by_hand = len(re.findall(r"^=== RB\d{3}", CORPUS, re.MULTILINE))
    left_out = {where for where, _ in missing_keys(body(GOOD["everything"]))}
    made = sum(len(list(kind(body(GOOD["everything"])))) for kind in KINDS.values())
    assert by_hand >= 110
    assert made - len(left_out) >= 2000
