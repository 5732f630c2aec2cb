"""What a scenario expects, compared with what came of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from runbooks.findings import did_you_mean
from services.testing.acceptance import Expected, ExpectedCall, LoadedPack, PackError
from services.testing.trial import Course
from services.testing.volatile import differing, steady

_COMPARISON = re.compile(r"^\s*(<=|>=|==|!=|<|>)\s*(-?\d+(?:\.\d+)?)\s*$")
_HOLDS = {
    "<=": lambda one, other: one <= other,
    ">=": lambda one, other: one >= other,
    "==": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    ">": lambda one, other: one > other,
}


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation and whether it held."""

    what: str
    expected: str
    found: str
    holds: bool


def holds(expected: Any, found: Any) -> bool:
    """Whether a value is as expected: equal, or, for a text such as ``<= 300``, in that relation."""
    compared = _COMPARISON.match(expected) if isinstance(expected, str) else None
    if compared is not None:
        number = isinstance(found, int | float) and not isinstance(found, bool)
        return number and bool(_HOLDS[compared[1]](found, float(compared[2])))
    return bool(expected == found) and isinstance(expected, bool) is isinstance(found, bool)


def checks(expected: Expected, course: Course, pack: LoadedPack) -> tuple[Check, ...]:
    """Every expectation of a scenario."""
    found = [*_plain(expected, course), *_kpis(expected, course), *_steps(expected, course)]
    found += [*_errors(expected, course), *(_call(call, course) for call in expected.calls)]
    found += [*_screenshots(expected, course, pack), *_files(expected, course, pack)]
    return tuple(found)


def _check(what: str, expected: Any, found: Any) -> Check:
    return Check(what, str(expected), str(found), holds(expected, found))


def _plain(expected: Expected, course: Course) -> Iterator[Check]:
    for what in ("status", "verdict", "check"):
        wanted = getattr(expected, what)
        if wanted is not None:
            check = _check(what, wanted, getattr(course, what))
            why = f" ({course.message})" if not check.holds and course.message else ""
            yield Check(check.what, check.expected, check.found + why, check.holds)
    if expected.message is not None:
        yield Check("message", expected.message, course.message, expected.message in course.message)


def _kpis(expected: Expected, course: Course) -> Iterator[Check]:
    for name, wanted in expected.kpis.items():
        if name in course.kpis:
            yield _check(f"kpi {name}", wanted, course.kpis[name])
        else:
            yield Check(f"kpi {name}", str(wanted), f"not measured; {did_you_mean(name, course.kpis)}", holds=False)


def _steps(expected: Expected, course: Course) -> Iterator[Check]:
    runs = {run.step_id: run for run in course.steps if run.phase == "step" and run.item is None}
    for name, wanted in expected.steps.items():
        run = runs.get(name)
        if run is None:
            yield Check(f"step {name}", str(wanted), f"did not run; {did_you_mean(name, runs)}", holds=False)
            continue
        told = wanted if isinstance(wanted, Mapping) else {"status": wanted}
        if "status" in told:
            yield _check(f"step {name}", told["status"], run.status.value)
        if "output" in told:
            yield _check(f"output of step {name}", told["output"], run.output)
        if "error" in told:
            yield Check(f"error of step {name}", str(told["error"]), run.error, str(told["error"]) in run.error)


def _errors(expected: Expected, course: Course) -> Iterator[Check]:
    wanted = expected.errors
    if wanted is None:
        return
    yield _check("errors", wanted.count, len(course.errors))
    if wanted.type:
        types = sorted({kind for kind, _ in course.errors})
        yield Check("type of an error", wanted.type, ", ".join(types) or "none", wanted.type in types)
    if wanted.contains:
        texts = [text for _, text in course.errors]
        found = any(wanted.contains in text for text in texts)
        yield Check("text of an error", wanted.contains, "; ".join(texts)[:200] or "none", found)


def _call(wanted: ExpectedCall, course: Course) -> Check:
    fitting = [
        sent
        for sent in course.sent
        if sent.verb.lower() == wanted.verb.lower()
        and fnmatchcase(sent.object, wanted.object)
        and wanted.contains in sent.body
    ]
    what = f"call {wanted.verb} {wanted.object}{f' with {wanted.contains!r}' if wanted.contains else ''}"
    return _check(what, wanted.times, len(fitting))


def _screenshots(expected: Expected, course: Course, pack: LoadedPack) -> Iterator[Check]:
    """Pictures were compared by their steps; here it is that they were, with this baseline, and were alike."""
    pictures = [run for run in course.steps if run.action == "ui_screenshot"]
    compared = [run for run in pictures if isinstance(run.output, Mapping) and run.output.get("baseline")]
    taken = {str(Path(run.output["baseline"]).resolve()): run for run in compared}
    for name, baseline in expected.screenshots.items():
        what = f"screenshot {name}"
        try:
            run = taken.get(str(pack.file(baseline)))
        except PackError as error:
            yield Check(what, baseline, str(error), holds=False)
            continue
        if run is None:
            failed = "; ".join(one.error for one in pictures if one.error)
            yield Check(what, f"like {baseline}", failed or "no step compared a picture with it", holds=False)
            continue
        ratio = run.output.get("changed_ratio")
        told = f"{ratio:.2%} differs" if isinstance(ratio, int | float) else "not compared"
        yield Check(what, f"like {baseline}", run.error or told, run.output.get("passed") is True)


def _files(expected: Expected, course: Course, pack: LoadedPack) -> Iterator[Check]:
    runs = {run.step_id: run for run in course.steps if run.phase == "step" and run.item is None}
    for name, file in expected.files.items():
        if name not in runs:
            yield Check(f"output of step {name}", file, "did not run", holds=False)
            continue
        found = list(differing(steady(pack.data(file)), steady(runs[name].output)))
        told = "; ".join(f"{path}: {one!r} is {other!r}" for path, one, other in found[:3])
        yield Check(f"output of step {name}", file, told or "the same", not found)
