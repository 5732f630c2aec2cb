"""Results of trials for machines and people: JUnit XML, one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET  # nosec - reports are written with it, nothing is parsed

from services.testing.expecting import Check
from services.testing.trial import Course


@dataclass(frozen=True, slots=True)
class Result:
    """One scenario with what came of it.

    Attributes:
        problem: why it could not be tried; then there are no checks.
    """

    pack: str
    runbook: str
    scenario: str
    course: Course | None
    checks: tuple[Check, ...] = ()
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether everything held."""
        return not self.problem and all(check.holds for check in self.checks)

    @property
    def failures(self) -> tuple[str, ...]:
        """One line for each expectation that did not hold."""
        if self.problem:
            return (self.problem,)
        return tuple(f"{c.what}: expected {c.expected}, found {c.found}" for c in self.checks if not c.holds)


def junit(results: Sequence[Result]) -> bytes:
    """JUnit XML: a suite for each pack, a case for each scenario."""
    root = ET.Element("testsuites", {"name": "rb test", **_counts(results)})
    for pack in dict.fromkeys(one.pack for one in results):
        mine = [one for one in results if one.pack == pack]
        suite = ET.SubElement(root, "testsuite", {"name": _legal(pack), **_counts(mine)})
        for one in mine:
            seconds = f"{one.course.seconds if one.course else 0:.3f}"
            case = ET.SubElement(
                suite, "testcase", classname=_legal(one.runbook), name=_legal(one.scenario), time=seconds
            )
            if one.problem:
                ET.SubElement(case, "error", message=_legal(one.problem))
            elif not one.passed:
                failure = ET.SubElement(case, "failure", message=_legal(one.failures[0]))
                failure.text = _legal("\n".join(one.failures))
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _counts(results: Sequence[Result]) -> dict[str, str]:
    broken = sum(bool(one.problem) for one in results)
    failed = sum(not one.passed for one in results) - broken
    return {"tests": str(len(results)), "failures": str(failed), "errors": str(broken)}


def _legal(text: str) -> str:
    """Without characters that XML cannot hold."""
    return "".join(
        c for c in text if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"
    )


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:0}details{border:1px solid #d0d7de;border-radius:6px;margin:.6rem 0;
padding:.6rem .9rem}summary{cursor:pointer}
table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{text-align:left;
padding:.25rem .6rem .25rem 0;border-bottom:1px solid #eaeef2;vertical-align:top;overflow-wrap:anywhere}
.ok{color:#116329}.bad{color:#a40e26;font-weight:600}img{max-width:100%;border:1px solid #d0d7de}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}details,img{border-color:#30363d}
td,th{border-color:#21262d}.ok{color:#56d364}.bad{color:#ff7b72}}
"""


def html(results: Sequence[Result]) -> str:
    """One page that needs nothing else; every text is escaped, and nothing is loaded from anywhere."""
    passed = sum(one.passed for one in results)
    body = "".join(_section(one) for one in results)
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width"><title>rb test</title>'
        f"<style>{_STYLE}</style></head><body>"
        f"<h1>{passed} of {len(results)} scenarios passed</h1>{body}</body></html>\n"
    )


def _section(one: Result) -> str:
    word, css = ("passed", "ok") if one.passed else ("failed", "bad")
    title = f"{escape(one.scenario)} <small>{escape(one.runbook)}</small>"
    head = f'<summary><span class="{css}">{word}</span> {title}</summary>'
    parts = [f'<p class="bad">{escape(one.problem)}</p>' if one.problem else _checks(one.checks)]
    if one.course is not None:
        parts += [_steps(one.course), _kpis(one.course.kpis), _list("Assumptions", one.course.assumptions)]
        parts += [_pictures(one.course)]
    return f"<details{'' if one.passed else ' open'}>{head}{''.join(parts)}</details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{lines}</table>" if rows else ""


def _checks(checks: Sequence[Check]) -> str:
    rows = [
        (
            f'<span class="{"ok" if one.holds else "bad"}">{"holds" if one.holds else "does not hold"}</span>',
            *(escape(text) for text in (one.what, one.expected, one.found)),
        )
        for one in checks
    ]
    return _table(("", "what", "expected", "found"), rows)


def _steps(course: Course) -> str:
    rows = [
        tuple(escape(t) for t in (run.phase, run.name, run.action, str(run.status), run.error)) for run in course.steps
    ]
    return _table(("phase", "step", "action", "status", "error"), rows)


def _kpis(kpis: Mapping[str, float]) -> str:
    return _table(("KPI", "measured"), [(escape(name), f"{value:g}") for name, value in kpis.items()])


def _list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{escape(title)}</h2><ul>{items}</ul>" if lines else ""


def _pictures(course: Course) -> str:
    """Pictures that steps report, put into the page itself."""
    found = [
        f"<figure>{_image(Path(str(path)))}<figcaption>{escape(f'{run.name}: {what}')}</figcaption></figure>"
        for run in course.steps
        if run.action == "ui_screenshot" and isinstance(run.output, Mapping)
        for what, path in run.output.items()
        if what in ("screenshot", "diff", "baseline") and isinstance(path, str) and path.endswith(".png")
    ]
    return "".join(found)


def _image(path: Path) -> str:
    try:
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        return f"<p>{escape(f'{path} cannot be read: {error.strerror}')}</p>"
    return f'<img alt="{escape(path.name)}" src="data:image/png;base64,{data}">'


def as_json(results: Sequence[Result]) -> Mapping[str, Any]:
    """For machines."""
    return {
        "passed": sum(one.passed for one in results),
        "failed": sum(not one.passed for one in results),
        "scenarios": [
            {
                "pack": one.pack,
                "runbook": one.runbook,
                "scenario": one.scenario,
                "passed": one.passed,
                "status": one.course.status if one.course else "",
                "failures": list(one.failures),
                "kpis": dict(one.course.kpis) if one.course else {},
                "assumptions": list(one.course.assumptions) if one.course else [],
                "seconds": round(one.course.seconds, 3) if one.course else 0,
            }
            for one in results
        ],
    }
