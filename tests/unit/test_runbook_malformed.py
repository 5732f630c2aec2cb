"""Every malformed runbook is refused with its code and line; whatever the text, the loader does not crash."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from fakes.action_schemas import ACTIONS
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runbooks.findings import RunbookError, Severity, errors_of
from runbooks.loader import load_file, load_text
from runbooks.rules import RULES

CATALOG = Path(__file__).parents[2] / "runbooks" / "catalog"
HEADER = re.compile(r"^=== (RB\d{3}) (\d+) (.+)$", re.MULTILINE)


def _cases():
    parts = HEADER.split((Path(__file__).parent / "runbooks_bad" / "cases.txt").read_text())[1:]
    for code, line, title, text in zip(parts[::4], parts[1::4], parts[2::4], parts[3::4], strict=True):
        yield pytest.param(text.removeprefix("\n"), code, int(line), id=title.replace(" ", "-"))


CASES = list(_cases())


@pytest.mark.parametrize(("text", "code", "line"), CASES)
def test_a_malformed_runbook_is_refused_with_its_code_and_line(text, code, line):
    """The author sees where it is wrong, which rule it breaks, and what to do."""
    with pytest.raises(RunbookError) as refused:
        load_text(text, Path("bad.yaml"), actions=ACTIONS)
    errors = [finding for finding in refused.value.findings if finding.severity is Severity.ERROR]
    assert (code, line) in {(finding.code, finding.line) for finding in errors}, str(refused.value)
    assert all(finding.path == Path("bad.yaml") and finding.column >= 1 and finding.message for finding in errors)
    assert all(finding.advice for finding in errors)


def test_there_are_at_least_sixty_malformed_runbooks():
    """The table covers the language and not a corner of it."""
    assert len(CASES) >= 60


def test_each_case_breaks_no_other_rule():
    """A case that fails for a second reason would hide that its own rule stopped working."""
    for case in CASES:
        text, code, _ = case.values
        with pytest.raises(RunbookError) as refused:
            load_text(text, actions=ACTIONS)
        codes = {finding.code for finding in refused.value.findings if finding.severity is Severity.ERROR}
        assert codes == {code}, (case.id, str(refused.value))


def test_every_error_rule_of_the_shape_has_a_case():
    """A rule that nobody can break is a rule that nobody tests."""
    # Of bytes, sizes and several files.
    elsewhere = {"RB001", "RB002", "RB006", "RB007", "RB014", "RB016", "RB219", "RB223", "RB414"}
    errors = {code for code, rule in RULES.items() if rule.severity is Severity.ERROR}
    assert errors - elsewhere - {case.values[1] for case in CASES} == set()


def _refusal(text):
    with pytest.raises(RunbookError) as refused:
        load_text(text)
    return [(finding.code, finding.line, finding.column) for finding in refused.value.findings]


def test_bytes_that_are_not_utf_8_are_located():
    """The place of the first wrong byte is given."""
    assert _refusal(b"runbook:\n  id: caf\xe9\n") == [("RB001", 2, 10)]


def test_a_control_character_is_located():
    """It cannot be seen in an editor, so its number and place are given."""
    assert _refusal("runbook:\n  id: a\x07b\n") == [("RB016", 2, 8)]


def test_a_huge_file_is_refused_before_it_is_parsed():
    """A file of half a megabyte is no runbook."""
    assert _refusal("#" * 600_000)[0][0] == "RB002"


def test_nesting_is_bounded():
    """Thousands of brackets neither crash the parser nor take long."""
    assert _refusal("runbook: " + "[" * 100_000)[0][0] == "RB006"


def test_an_alias_bomb_is_refused():
    """Nine levels of nine aliases would be hundreds of millions of values."""
    levels = [f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    text = "runbook:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "\n".join(levels)
    assert _refusal(text)[0][0] == "RB007"


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path):
    """A missing file, a folder and a name with a NUL are refused like any other."""
    for path in (tmp_path / "none.yaml", tmp_path, Path("a\0b.yaml")):
        with pytest.raises(RunbookError) as refused:
            load_file(path)
        assert [finding.code for finding in refused.value.findings] == ["RB014"]


def test_a_finding_names_the_nearest_valid_word():
    """Misspelt keys, actions and values come with what was probably meant."""
    text = "runbook:\n  id: x\n  trigger: {root_cause_reson: A}\n  steps: [{name: a, action: wait}]\n"
    with pytest.raises(RunbookError, match="did you mean root_cause_reason"):
        load_text(text)


GOOD = [path.read_text() for path in sorted(CATALOG.rglob("runbook.yaml"))]
PIECES = st.sampled_from([
    *"{}[]:,-#&*!|>'\"%@`\t\n \0\x85\ufeff",
    "{{", "}}", "{%", "%}", "<<: ", "!!python/x ", "*a", "&a", "---\n", "null", "yes", "1e999", ".nan", "0o7",
    "\u0663", "\U0001d518", "\ud800",
    "{{ 'a' * 9**9 }}", "{{ x.y.z }}", "{% for i in range(9) %}", "9" * 400, "? ", "- ", "~",
])  # fmt: skip


@st.composite
def _mutated(draw):
    text = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        text = text[:start] + draw(PIECES | st.text(max_size=6)) + text[end:]
    return text


@settings(max_examples=400, deadline=None)
@given(_mutated())
@example("runbook: {id: x, trigger: {root_cause_reason: a}, steps: [{name: a, action: b, timeout: 1e400}]}")
@example("runbook: {id: x, trigger: {root_cause_reason: a}, steps: [{name: a, action: b, timeout: " + "9" * 400 + "}]}")
def test_a_mutated_runbook_loads_or_is_refused_and_never_crashes(text):
    """Whatever an editor, a merge or a bad disk makes of a runbook: it loads, or it is refused with findings."""
    try:
        findings = load_text(text, actions=ACTIONS).findings
    except RunbookError as refused:
        findings = errors_of(refused.findings) or pytest.fail("refused without a reason")
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + 2
    assert all(1 <= finding.line <= lines and finding.column >= 1 for finding in findings)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_and_never_crash(data):
    """Also what is no text at all."""
    with pytest.raises(RunbookError):
        load_text(data)


@pytest.mark.parametrize(
    "filler",
    ["\\n" * 100_000, "eyJ" * 50_000, "a: '" * 40_000, "{{ a }}" * 5_000, "- " * 60_000, "__secret:" * 20_000],
    ids=["lines", "tokens", "quotes", "templates", "dashes", "references"],
)
def test_hostile_texts_are_checked_in_little_time(filler):
    """A text of the largest size must not hold the loader for long."""
    text = GOOD[0].replace("name: Renew", f'tags: ["x"]\n  description: x\n  name: "{filler}" #', 1)
    step = "      params: {manifest: " + json.dumps({"kind": "Secret", "x": filler.replace("\\n", "\n")}) + "}\n"
    head = (
        "runbook:\n  id: x\n  trigger: {root_cause_reason: a}\n  steps:\n    - name: a\n      action: kubectl_apply\n"
    )
    start = time.monotonic()
    for hostile in (text, head + step):
        try:
            load_text(hostile, actions=ACTIONS)
        except RunbookError as refused:
            assert len(str(refused)) < 100_000  # noqa: PT017  # whether it is refused is not the point
    assert time.monotonic() - start < 10
