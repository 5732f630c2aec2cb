"""Which runbook answers, and why the others do not."""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matcher import select as select_module
from matcher.model import Cause, Incident, Match, NoMatch, Origin, Signal, SignalStatus, Subject, Target
from matcher.patterns import GlobIndex, is_glob, literal_length
from matcher.select import RunbookIndex, version_key
from runbooks.model import LoadedRunbook, Runbook

T0 = datetime(2025, 10, 6, 10, 0, tzinfo=UTC)


def runbook(name, reason="OOMKilled", version="1.0", **trigger):
    model = Runbook.model_validate(
        {
            "id": name,
            "version": version,
            "trigger": {"root_cause_reason": reason, **trigger},
            "steps": [{"name": "x", "action": "wait"}],
        }
    )
    return LoadedRunbook(runbook=model, sha=f"sha-{name}-{version}")


def incident(reason="OOMKilled", confidence=0.9, *, symptom="CrashLoopBackOff", kind="Pod", namespace="shop", **more):
    subject = Subject(kind, "cart-1", namespace)
    signal = Signal(
        "s",
        "acme",
        "prod",
        symptom,
        more.pop("severity", "CRITICAL"),
        SignalStatus.FIRING,
        subject,
        T0,
        "event_normalized",
        "k",
        Origin("a", 0, 0),
        labels=more.pop("labels", {}),
    )
    cause = Cause("c", reason, subject, confidence, "w", confidence)
    target = Target("prod", "Deployment", "cart", namespace)
    return Incident("i", "f", "acme", "prod", signal, cause, target, T0, T0)


def won(found, *runbooks):
    result = RunbookIndex(runbooks).select(found)
    assert isinstance(result, Match), result
    return result.runbook.runbook.id


APPLIES = [
    ({"symptom_reason": ["CrashLoopBackOff", "Error"]}, True, ""),
    ({"symptom_reason": "BackOff"}, True, ""),
    ({"symptom_reason": "crash*"}, True, ""),
    ({"symptom_reason": "Error"}, False, "symptom CrashLoopBackOff is not Error"),
    ({"affected_resource_kinds": ["pod"]}, True, ""),
    ({"affected_resource_kinds": ["Node", "Deployment"]}, False, "kind Pod is not Node or Deployment"),
    ({"namespaces": ["sh*"]}, True, ""),
    ({"namespaces": ["prod"]}, False, "namespace shop is not prod"),
    ({"exclude_namespaces": ["s?op"]}, False, "namespace shop is excluded by s?op"),
    ({"exclude_namespaces": ["kube-*"]}, True, ""),
    ({"labels": {"team": "pay*"}}, True, ""),
    ({"labels": {"team": "ops"}}, False, "label team=payments is not ops"),
    ({"labels": {"tier": "1"}}, False, "the signal has no label tier"),
    ({"severity": "critical"}, True, ""),
    ({"severity": ["warning", "info"]}, False, "severity CRITICAL is not warning or info"),
    ({"cluster": "prod"}, True, ""),
    ({"cluster": "edge-*"}, False, "cluster prod is not edge-*"),
    ({"tenant": "acme"}, True, ""),
    ({"tenant": "other"}, False, "tenant acme is not other"),
]


@pytest.mark.parametrize(("trigger", "applies", "why"), APPLIES)
def test_every_part_of_a_trigger_must_hold(trigger, applies, why):
    """A part that does not hold is the reason why the runbook lost."""
    result = RunbookIndex([runbook("a", **trigger)]).select(incident(labels={"team": "payments"}))
    assert isinstance(result, Match if applies else NoMatch)
    assert result.candidates[0].lost_because == why


def test_what_is_not_known_holds_nowhere():
    """A trigger that asks for a symptom or kind is not met by a signal without one."""
    index = RunbookIndex([runbook("a", symptom_reason="*"), runbook("b", affected_resource_kinds="*")])
    result = index.select(incident(symptom="", kind=""))
    assert isinstance(result, NoMatch)
    assert [c.lost_because for c in result.candidates] == [
        "the symptom's reason is not known; it asks for *",
        "kind unknown is not *",
    ]
    assert result.reason == "2 runbooks name the cause OOMKilled, none applies"


def test_nothing_names_the_cause():
    """Then there are no candidates, and the answer says so."""
    result = RunbookIndex([runbook("a")]).select(incident("DiskFull"))
    assert result == NoMatch(incident("DiskFull"), (), "no runbook names the cause DiskFull")


ORDER = [
    ("by name before by glob", runbook("z"), runbook("a", "OOM*"), "how the reason is met"),
    ("by glob before by alias", runbook("z", "OOMK*"), runbook("a", "ContainerOOMKilled"), "how the reason is met"),
    ("longer glob", runbook("z", "OOMKill*"), runbook("a", "OOM*"), "length of the glob"),
    ("glob before longer alias glob", runbook("z", "O*"), runbook("a", "*"), "length of the glob"),
    ("symptom given", runbook("z", symptom_reason="*"), runbook("a", affected_resource_kinds="Pod"), "symptom_reason"),
    (
        "kind given",
        runbook("z", affected_resource_kinds="Pod"),
        runbook("a", namespaces="shop"),
        "affected_resource_kinds",
    ),
    ("namespace by name", runbook("z", namespaces=["shop"]), runbook("a", namespaces=["sh*"]), "namespaces"),
    ("namespace by glob", runbook("z", namespaces=["sh*"]), runbook("a", labels={"x": "*"}), "namespaces"),
    ("more labels", runbook("z", labels={"x": "1", "y": "2"}), runbook("a", labels={"x": "1"}), "labels"),
    ("severity given", runbook("z", severity="critical"), runbook("a", cluster="prod"), "severity"),
    ("cluster given", runbook("z", cluster="prod"), runbook("a", tenant="acme"), "cluster"),
    ("tenant given", runbook("z", tenant="acme"), runbook("a", min_confidence=0.9), "tenant"),
    ("higher min_confidence", runbook("z", min_confidence=0.85), runbook("a", min_confidence=0.8), "min_confidence"),
    ("newer version", runbook("z", version="1.10.0"), runbook("a", version="1.9.9"), "version"),
    ("release before pre-release", runbook("z", version="2.0.0"), runbook("a", version="2.0.0-rc1"), "version"),
    ("first in the alphabet", runbook("a"), runbook("b"), "alphabet"),
    ("confidence reached", runbook("z", "*", min_confidence=0.5), runbook("a", min_confidence=0.95), "confidence"),
]


@pytest.mark.parametrize(("better", "worse", "why"), [row[1:] for row in ORDER], ids=[row[0] for row in ORDER])
def test_the_most_specific_runbook_wins(better, worse, why):
    """Each step of the documented order decides, whatever the order of loading; the loser says by what it lost."""
    found = incident(labels={"x": "1", "y": "2"})
    for order in permutations([better, worse]):
        result = RunbookIndex(order).select(found)
        assert result.runbook is better
        first, second = result.candidates
        assert (first.runbook_id, first.lost_because) == (better.runbook.id, "")
        assert why in second.lost_because


def test_confidence_alone_still_gives_a_match():
    """The best of those that ask for more goes to the gate, which refuses with numbers."""
    result = RunbookIndex([runbook("a", min_confidence=0.8), runbook("b", min_confidence=0.95)]).select(
        incident(confidence=0.4)
    )
    assert isinstance(result, Match)
    assert result.runbook.runbook.id == "b"
    assert result.candidates[0].score[0] == 0


def test_names_of_a_family_find_each_other():
    """A runbook for one name of a failure answers the others, and globs meet the canonical name too."""
    assert won(incident("LOG_OOM_KILLED"), runbook("a", ["KubeContainerOOMKilled"])) == "a"
    assert won(incident("LOG_OOM_KILLED"), runbook("a", "oomkill*")) == "a"
    assert won(incident("errimagepull"), runbook("a", "ImagePullBackOff"), runbook("b", "ErrImagePull")) == "b"
    assert won(incident("KubeNodeNotReady", kind="Node", namespace=""), runbook("a", "NodeNotReady")) == "a"


def test_several_patterns_of_one_runbook_make_one_candidate():
    """The best of its patterns counts."""
    result = RunbookIndex([runbook("a", ["*", "OOM*", "OOMKilled"])]).select(incident())
    assert len(result.candidates) == 1
    assert result.candidates[0].score[:3] == (1, 2, 0)


def test_the_cost_does_not_grow_with_the_number_of_runbooks(monkeypatch):
    """Runbooks for other reasons are never touched: as many checks and comparisons with 100 times as many."""
    shapes = ("Reason{}", "Alert{}*", "*Suffix{}", "*Middle{}*", "Kube?{}x*")
    counts = []
    for size in (50, 5000):
        others = [runbook(f"r{n}", shapes[n % len(shapes)].format(f"{n:05}")) for n in range(size)]
        index = RunbookIndex([*others, runbook("a"), runbook("g", "OOM*")])
        calls = []
        real = select_module._why_not
        monkeypatch.setattr(
            select_module, "_why_not", lambda t, i, real=real, calls=calls: calls.append(t) or real(t, i)
        )
        result = index.select(incident())
        monkeypatch.undo()
        counts.append((len(calls), len(result.candidates), len(list(index._globs.candidates("OOMKilled")))))
        assert len(index) == size + 2
    assert counts[0] == counts[1] == (2, 2, 1)


def test_the_memory_of_looked_up_reasons_is_bounded():
    """Reasons come from outside: a stream of new ones must not fill the memory."""
    index = RunbookIndex([runbook("a", "*")])
    for number in range(5000):
        assert len(index.naming(f"Reason{number}")) == 1
    assert len(index._remembered) == 4096


GLOB = st.text(alphabet="ab*?", min_size=1, max_size=5)


@given(st.lists(GLOB, max_size=8), st.text(alphabet="abAB", max_size=6))
def test_the_index_finds_what_a_scan_would_find(globs, text):
    """Waiting under a literal part loses no glob, and finds none twice."""
    found = list(GlobIndex(globs).matching(text))
    assert sorted(found) == sorted({g for g in globs if fnmatchcase(text.lower(), g)})


@given(
    st.permutations([runbook("a"), runbook("b", version="2"), runbook("c", "OOM*"), runbook("d", min_confidence=0.95)])
)
def test_the_winner_does_not_depend_on_the_order_of_loading(order):
    """Equal sets of runbooks give equal answers, candidates included."""
    result = RunbookIndex(order).select(incident())
    assert [c.runbook_id for c in result.candidates] == ["b", "a", "c", "d"]


def test_patterns_know_their_fixed_part():
    """Wildcards and character classes are not fixed."""
    assert [literal_length(p) for p in ("OOM*", "*", "a[bc]d?", "abc")] == [3, 0, 2, 3]
    assert [is_glob(p) for p in ("OOM*", "a[bc]", "abc", "a]b")] == [True, True, False, False]


@pytest.mark.parametrize(
    ("version", "key"),
    [
        ("1.0", (1, 0, 0, 1)),
        ("v1.2.3", (1, 2, 3, 1)),
        ("2.0.0-rc.1+b", (2, 0, 0, 0)),
        ("x", (0, 0, 0, 1)),
        ("", (0, 0, 0, 1)),
    ],
)
def test_versions_compare_as_numbers(version, key):
    """1.10 is newer than 1.9, a pre-release older than its release."""
    assert version_key(version) == key
