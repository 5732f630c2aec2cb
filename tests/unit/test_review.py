"""A changed folder of runbooks is reviewed in a real Git repository, and the workflow tells the pull request."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bench.incidents import Recorder, runbook, runbook_text
from hypothesis import given
from hypothesis import strategies as st

from services.cli.app import main
from services.review.report import Check, Outcome, failed, markdown, marker
from services.testing.history import HistoryWriter

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "runbooks.yml"
CATALOG = ROOT / "runbooks" / "catalog" / "oomkilled-increase-memory"


def git(folder, *words):
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one tested runbook on its branch main; the work is on a branch of its own."""
    for name in ("ROOTMEND_CONFIG", "ROOTMEND_STATE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "repository"
    pack = folder / "books" / "oom"
    pack.mkdir(parents=True)
    for name in ("runbook.yaml", "acceptance.yml"):
        (pack / name).write_text((CATALOG / name).read_text(encoding="utf-8"), encoding="utf-8")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "a runbook")
    git(folder, "checkout", "-q", "-b", "change")
    monkeypatch.chdir(folder)
    return folder


def change(folder, old, new, name="runbook.yaml"):
    file = folder / "books" / "oom" / name
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def row(text, name):
    """The result and the summary of a check, from the table of the report."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| `rb {name}")]
    return [cell.strip() for cell in line.split("|")[2:4]]


def test_a_good_change_passes_every_check(repository, capsys):
    """Valid, laid out, its scenarios hold, and the change is told in words; what was not given is said."""
    change(repository, "cooldown: 10m", "cooldown: 15m")
    junit = repository / "junit.xml"
    assert main(["review", "books", "--base", "main", "--fail-on", "riskier", "--junit", str(junit)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(marker("books") + "\n")
    assert "Nothing holds this change back" in text
    assert row(text, "validate") == ["passed", "1 of 1 runbooks can be used, 0 errors, 0 warnings"]
    assert row(text, "fmt")[0] == row(text, "test")[0] == "passed"
    assert row(text, "backtest") == ["not done", "no recorded incidents were given"]
    assert row(text, "diff")[0] == "passed"
    assert "15m afterwards instead of 10m" in text
    assert b"<testcase" in junit.read_bytes()


def test_a_bad_change_is_held_back_with_every_reason(repository, capsys):
    """A mistake in the file fails the checks that need it, with its place; the command ends with 1."""
    change(repository, "  steps:", "  stepz:")
    output = repository / "review.md"
    assert main(["review", "books", "--base", "main", "-o", str(output), "--annotate", "github"]) == 1
    text, shown = output.read_text(encoding="utf-8"), capsys.readouterr().out
    assert "This change is held back" in text
    assert row(text, "validate")[0] == row(text, "test")[0] == row(text, "diff")[0] == "failed"
    assert "books/oom/runbook.yaml:" in text
    assert "did you mean steps?" in text
    assert "cannot be compared" in text
    assert "::error file=books/oom/runbook.yaml,line=" in shown


def test_a_scenario_that_no_longer_holds_is_named(repository, capsys):
    """With what was expected and what was found."""
    change(repository, "status: ", "status: refused  # was ", "acceptance.yml")
    assert main(["review", "books"]) == 1
    text = capsys.readouterr().out
    assert row(text, "test")[0] == "failed"
    assert "FAIL oomkilled-increase-memory" in text
    assert "expected refused" in text


def test_an_untidy_file_is_held_back_and_left_alone(repository, capsys):
    """The report shows the difference; only rb fmt writes."""
    change(repository, "\n  id: ", "\n  id:    ")
    before = (repository / "books" / "oom" / "runbook.yaml").read_bytes()
    assert main(["review", "books"]) == 1
    assert row(capsys.readouterr().out, "fmt") == ["failed", "1 files are not laid out"]
    assert (repository / "books" / "oom" / "runbook.yaml").read_bytes() == before


@pytest.mark.parametrize(("fail_on", "code"), [("", 0), ("riskier", 1), ("any", 1), ("lost", 0)])
def test_a_riskier_change_fails_when_that_is_asked_for(repository, fail_on, code, capsys):
    """Else it is only told."""
    change(repository, "cooldown: 10m", "cooldown: 5m")
    assert main(["review", "books", "--base", "main", "--fail-on", fail_on]) == code
    assert "5m afterwards instead of 10m" in capsys.readouterr().out


def test_a_runbook_that_moved_is_compared_and_one_that_is_new_or_gone_is_said(repository, capsys):
    """Runbooks are paired by id, not by file."""
    (repository / "books" / "oom").rename(repository / "books" / "memory")
    (repository / "books" / "more.yaml").write_text(runbook_text(), encoding="utf-8")
    main(["review", "books", "--base", "main"])
    text = capsys.readouterr().out
    assert "raise-memory: is new" in text
    assert "oomkilled-increase-memory:" not in text
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "more")
    (repository / "books" / "more.yaml").unlink()
    main(["review", "books", "--base", "HEAD"])
    assert "raise-memory: is gone" in capsys.readouterr().out


def test_a_folder_that_the_base_does_not_have_is_all_new(repository, capsys):
    """The first pull request of a folder."""
    git(repository, "mv", "books", "other")
    main(["review", "other", "--base", "main"])
    assert "oomkilled-increase-memory: is new" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nosuch"], "nosuch is no folder"),
        (["books", "--base", "nosuch"], "--base nosuch"),
        (["books", "--base", "--output=x"], "--base --output=x"),
        (["books", "--incidents", "nosuch.jsonl"], "there is no file nosuch.jsonl"),
        (["books", "--fail-on", "riskyer"], "did you mean riskier?"),
    ],
)
def test_wrong_use_is_told_before_anything_runs(repository, words, told, capsys):
    """Exit code 2, and what was meant."""
    assert main(["review", *words]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("fail_on", ["", "changed-plan"])
def test_recorded_incidents_are_replayed_against_the_base(repository, fail_on, capsys):
    """A plan that would change is named with its incident, and fails when that is asked for."""
    chance, recorder = random.Random(7), Recorder()  # noqa: S311 - the same numbers each time
    recorded = [recorder.line(number, chance) for number in range(60)]
    history = repository / "incidents.jsonl.gz"
    with HistoryWriter(history) as file:
        file.runbook({"id": "raise-memory", "version": "1.0.0", "sha": runbook().sha, "text": runbook_text()})
        for one in [one for one in recorded if one["kind"] == "permit"][:3]:
            file.incident(one)
    books = repository / "raising"
    books.mkdir()
    (books / "raise-memory.yaml").write_text(runbook_text(), encoding="utf-8")
    git(repository, "add", "raising")
    git(repository, "commit", "-q", "-m", "raising")
    (books / "raise-memory.yaml").write_text(runbook_text("1.1.0", factor=3), encoding="utf-8")
    main(["review", "raising", "--base", "HEAD", "--incidents", str(history), "--fail-on", fail_on])
    text = capsys.readouterr().out
    result, summary = row(text, "backtest")
    assert result == ("failed" if fail_on else "passed")
    assert "3 incidents against the base" in summary
    assert "3 changed-plan" in summary
    assert row(text, "test") == ["not done", "no runbook has an acceptance pack"]


@given(st.lists(st.text(), max_size=8), st.lists(st.sampled_from(Outcome), min_size=1, max_size=4), st.text())
def test_nothing_that_was_found_leaves_its_fence(lines, outcomes, path):
    """Whatever a pull request holds, it is shown as text: no markup, no mention, and always within the limit."""
    checks = [Check(f"c{n}", "rb x", one, "1 of 1", ("@all", *lines)) for n, one in enumerate(outcomes)]
    text = markdown(path, checks)
    fence = None
    for line in text.splitlines()[1:]:
        if fence is None and line.startswith("```"):
            fence = line.removesuffix("text")
        elif fence is not None and line == fence:
            fence = None
        elif fence is None:
            assert "@all" not in line
        else:
            assert fence not in line
    assert fence is None
    assert ("This change is held back" in text.splitlines()[3]) is failed(checks) is (Outcome.FAILED in outcomes)
    assert text.splitlines()[0].count("--") == 2


def test_a_report_that_is_too_long_keeps_what_failed():
    """What does not fit is named; the limit of a comment is kept."""
    long = tuple("ä" * 300 for _ in range(60))
    checks = [Check("good", "rb x", Outcome.PASSED, "", long), Check("bad", "rb y", Outcome.FAILED, "", long)]
    text = markdown("books", checks, 45_000)
    assert len(text.encode()) <= 45_000
    assert "<summary>bad</summary>" in text
    assert "Too long to be shown here: good." in text


def test_the_workflows_are_ones_that_github_takes():
    """As the schema says that describes them."""
    files = sorted(map(str, WORKFLOW.parent.glob("*.yml")))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_may_do_no_more_than_it_needs():
    """What runs the pull request only reads; what writes runs nothing of it. Foreign actions are pinned by commit."""
    flow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert flow["permissions"] == {}
    assert flow["jobs"]["review"]["permissions"] == {"contents": "read"}
    assert flow["jobs"]["comment"]["permissions"] == {"pull-requests": "write"}
    steps = [step for job in flow["jobs"].values() for step in job["steps"]]
    assert all(len(step["uses"].partition("@")[2]) == 40 for step in steps if "uses" in step)
    assert not any("uses" in step for step in flow["jobs"]["comment"]["steps"])
    # Text of others reaches a shell through its environment only.
    assert not any("${{" in step.get("run", "") for step in steps)


def script(name):
    """What a step of the workflow runs."""
    flow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return next(s["run"] for job in flow["jobs"].values() for s in job["steps"] if s.get("name") == name)


def program(folder, name, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
    (folder / name).chmod(0o755)


GH = """
import json, os, pathlib, sys
import jq
words, store = sys.argv[1:], pathlib.Path("comments.json")
comments = json.loads(store.read_text())
if "--jq" in words:
    for one in jq.compile(words[words.index("--jq") + 1].replace("env.", "$ENV.")).input_value(comments).all():
        print(one)
else:
    method = words[words.index("--method") + 1]
    body = pathlib.Path(words[words.index("--field") + 1].removeprefix("body=@")).read_text()
    if method == "POST":
        comments.append({"id": len(comments) + 1, "user": {"login": "github-actions[bot]"}, "body": body})
    else:
        number = int(next(word for word in words if word.startswith("one/")).removeprefix("one/"))
        next(one for one in comments if one["id"] == number)["body"] = body
    store.write_text(json.dumps(comments))
"""
"""As much of gh as keeps the comments of one pull request."""


def test_the_comment_is_made_once_and_then_updated(tmp_path):
    """Each folder has its own; a comment of somebody else that looks like it is left alone."""
    program(tmp_path / "bin", "gh", GH)
    forged = {"id": 1, "user": {"login": "mallory"}, "body": marker("a") + "\nfine"}
    (tmp_path / "comments.json").write_text(json.dumps([forged]))
    where = {"COMMENTS": "all", "ONE": "one", "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    for path, word in (("a", "first"), ("b", "other"), ("a", "second")):
        report = markdown(path, [Check("c", "rb c", Outcome.PASSED, word)])
        environment = {**os.environ, **where, "REPORT": report}
        subprocess.run(["bash", "-e", "-c", script("Comment")], cwd=tmp_path, env=environment, check=True)
    kept = json.loads((tmp_path / "comments.json").read_text())
    assert kept[0] == forged
    assert [one["body"].splitlines()[0] for one in kept[1:]] == [marker("a"), marker("b")]
    assert "second" in kept[1]["body"]


@pytest.mark.parametrize("good", [True, False])
def test_the_step_of_the_workflow_reviews_the_merge(repository, tmp_path, good):
    """The script runs as it stands: report to summary and output, and the exit code of the review."""
    change(repository, "cooldown: 10m", "cooldown: 15m" if good else "cooldown: soon")
    git(repository, "commit", "-q", "-a", "-m", "a change")
    git(repository, "checkout", "-q", "main")
    git(repository, "merge", "-q", "--no-ff", "-m", "the merge", "change")
    code = "import sys; from services.cli.app import main; sys.exit(main())"
    program(tmp_path / "rootmend" / "bin", "rb", code)
    inputs = {"RUNBOOKS": "books", "INCIDENTS": "", "FAIL_ON": "riskier", "STRICT": "true"}
    files = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary"), "GITHUB_OUTPUT": str(tmp_path / "output")}
    given = {"RUNNER_TEMP": str(tmp_path), "GITHUB_EVENT_NAME": "pull_request"}
    done = subprocess.run(
        ["bash", "-e", "-c", script("Review")],
        cwd=repository,
        env={**os.environ, **inputs, **files, **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (0 if good else 1), done.stdout + done.stderr
    report = (tmp_path / "review.md").read_text(encoding="utf-8")
    assert (tmp_path / "summary").read_text(encoding="utf-8") == report
    assert row(report, "diff")[0] == ("passed" if good else "failed")
    assert ("15m afterwards instead of 10m" in report) is good
    output = (tmp_path / "output").read_text(encoding="utf-8")
    end = output.splitlines()[0].removeprefix("report<<")
    assert output == f"report<<{end}\n{report}{end}\nartifact=rootmend-books\n"
    assert ("::error file=books/oom/runbook.yaml" in done.stdout) is not good
