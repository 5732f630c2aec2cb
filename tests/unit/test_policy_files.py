"""Files of policies: every mistake has its place and the nearest name; a broken file keeps its last good version."""

import json

import pytest
import yaml
from jsonschema import Draft202012Validator

from runbooks.findings import RunbookError
from safety.policies import limits_of_policies
from safety.policy import PolicySettings
from services.config_files import ConfigError
from services.policies.files import PolicyFiles, Terms, load_policies, load_set
from services.policies.model import policies_schema

GOOD = """\
policies:
  - id: payments
    description: Money moves here
    scope:
      namespaces: [payments-*]
      labels: {tier: gold}
    limits:
      max_blast_radius: 5
      min_confidence_floor: 0.9
      cooldown_not_fixed_seconds: 2h
    require_approval: true
    autonomy: approve
    windows: [{start: "09:00", end: "17:00", days: [mon, tue]}]
    freezes: [{start: 2026-12-20T00:00:00+01:00, end: 2026-12-27T00:00:00+01:00, reason: holidays}]
    required_signature: true
"""


def findings(text, terms=None):
    """What is wrong with a text, one line each."""
    with pytest.raises(RunbookError) as caught:
        load_policies(text, terms or Terms())
    return [str(one) for one in caught.value.findings]


def one_policy(rest, scope="{namespaces: [a]}"):
    """A file with one policy."""
    return f"policies:\n  - id: one\n    scope: {scope}\n    {rest}\n"


def test_a_good_file_gives_its_values():
    """Every part of a policy arrives as the gate takes it, with its place and version."""
    (policy,) = load_policies(GOOD, Terms()).policies
    assert policy.gives["limits.max_blast_radius"] == 5
    assert policy.gives["limits.cooldown_not_fixed_seconds"] == 7200
    assert (policy.gives["require_approval"], policy.gives["autonomy"]) == (True, "approve")
    assert policy.gives["required_signature"] is True
    assert policy.freezes[0].reason == "holidays"
    assert policy.place.endswith(":2")
    assert len(policy.version) == 12


def test_the_version_is_that_of_the_content():
    """Layout and description do not change a version; a limit does."""
    (first,) = load_policies(GOOD, Terms()).policies
    (laid,) = load_policies("# a comment\n" + GOOD.replace("Money moves here", "x"), Terms()).policies
    (other,) = load_policies(GOOD.replace("max_blast_radius: 5", "max_blast_radius: 4"), Terms()).policies
    assert first.version == laid.version != other.version


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (one_policy("limits: {max_blast_radus: 3}"), ":4:", "did you mean max_blast_radius?"),
        (one_policy("autonomy: aproove"), ":4:", "did you mean approve?"),
        (one_policy("deny: no", scope="{namespace: [a]}"), ":3:", "did you mean namespaces?"),
        (one_policy("deny: true"), ":4:", "say why nothing may be done"),
        (one_policy("limits: {max_blast_radius: true}"), ":4:", "expected a whole number"),
        (one_policy("limits: {target_per_day: true}"), ":4:", "expected a whole number"),
        (one_policy("limits: {min_confidence_floor: 7}"), ":4:", "between 0 and 1"),
        (one_policy("limits: {lock_lease_seconds: 7}"), ":4:", "has no key lock_lease_seconds"),
        (one_policy("require_approval: 3"), ":4:", "expected"),
        (one_policy("windows: [{timezone: Europe/Viena}]"), ":4:", "Europe/Vienna"),
        (one_policy("freezes: [{start: 2026-12-20, end: 2026-12-21, reason: x}]"), ":4:", "freezes"),
        (one_policy("description: empty"), ":2:", "decides nothing"),
        ("policies:\n  - scope: {}\n    deny: x\n", ":2:", "has no id"),
        ("polices: []\n", ":1:", "did you mean policies?"),
        ("- a\n", ":1:", "start with policies:"),
        ("policies: [\n", ":", "RB003"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_advice(text, place, words):
    """Line, what is wrong, and the nearest valid name where there is one."""
    told = findings(text)
    assert any(place in one and words in one for one in told), told


@pytest.mark.parametrize("name", ["max_blast_radius", "cluster_per_day"])
def test_a_policy_loosens_only_what_the_settings_allow(name):
    """A limit looser than that of the settings is refused at its line, unless policies.loosen names it."""
    text = one_policy(f"limits: {{{name}: 100000}}")
    (told,) = findings(text)
    assert ":4:" in told
    assert f"policies.loosen: [{name}]" in told
    assert load_policies(text, Terms(PolicySettings(), (name,))).policies


def test_a_list_that_leaves_out_a_protected_namespace_is_looser():
    """Protected namespaces of a policy have to hold those of the settings."""
    assert "is looser" in findings(one_policy("limits: {protected_namespaces: [vault]}"))[0]


def test_a_tie_stops_the_start(tmp_path):
    """Two equally specific policies that could contradict each other are a mistake of the configuration."""
    (tmp_path / "a.yaml").write_text("policies:\n  - {id: a, scope: {tags: [x]}, deny: one}\n")
    (tmp_path / "b.yaml").write_text("policies:\n  - {id: b, scope: {tags: [y]}, deny: two}\n")
    with pytest.raises(ConfigError) as caught:
        PolicyFiles([tmp_path], Terms()).load()
    (problem,) = caught.value.problems
    assert "equally specific" in problem
    assert "b.yaml:2" in problem
    assert "a.yaml:2" in problem


def test_two_policies_of_one_id_stop_the_start(tmp_path):
    """The record of a decision could not tell them apart."""
    text = "policies:\n  - {id: a, scope: {tags: [x]}, deny: one}\n  - {id: a, scope: {kinds: [Node]}, deny: two}\n"
    (tmp_path / "a.yaml").write_text(text)
    _, found = load_set([tmp_path], Terms())
    assert [one.code for one in found] == ["PO201"]


def test_a_broken_file_keeps_its_last_good_version(tmp_path):
    """While somebody edits, the policies of before hold; other files are taken up; the mistake is told."""
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("policies:\n  - {id: a, scope: {tenants: [t]}, deny: one}\n")
    files = PolicyFiles([tmp_path], Terms())
    files.load()
    first.write_text("policies:\n  - {id: a, scop: {}, deny: one}\n")
    second.write_text("policies:\n  - {id: b, scope: {tenants: [u]}, deny: two}\n")
    assert files.reload()
    assert {one.id for one in files.current.policies} == {"a", "b"}
    assert [one.code for one in files.errors] == ["RB102"]
    first.write_text("policies:\n  - {id: a, scope: {tenants: [t]}, deny: three words now}\n")
    assert files.reload()
    assert not files.errors
    assert {one.gives["deny"] for one in files.current.policies} == {"three words now", "two"}
    assert not files.reload()


def test_a_tie_that_comes_later_changes_nothing(tmp_path):
    """Files that contradict each other while the process runs leave the whole set as it was."""
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("policies:\n  - {id: a, deny: one}\n")
    files = PolicyFiles([tmp_path], Terms())
    files.load()
    second.write_text("policies:\n  - {id: b, deny: two}\n")
    files.reload()
    assert [one.id for one in files.current.policies] == ["a"]
    assert [one.code for one in files.errors] == ["PO202"]
    second.unlink()
    files.reload()
    assert not files.errors


def test_a_file_that_is_not_there_stops_the_start(tmp_path):
    """A misspelt path must not mean no policies."""
    with pytest.raises(ConfigError):
        PolicyFiles([tmp_path / "none.yaml"], Terms()).load()


def test_the_schema_takes_what_the_loader_takes():
    """Editors accept the good file, refuse a misspelt limit, and know every limit that policies can give."""
    schema = policies_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    good = json.loads(json.dumps(yaml.safe_load(GOOD), default=str))
    assert not list(validator.iter_errors(good))
    good["policies"][0]["limits"]["max_blast_radus"] = 3
    assert list(validator.iter_errors(good))
    assert set(schema["$defs"]["Limits"]["properties"]) == set(limits_of_policies())
