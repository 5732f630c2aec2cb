"""Findings as SARIF 2.1.0, the format of code scanning services (OASIS, 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runbooks.findings import Finding
from runbooks.rules import RULES, Rule

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"


def sarif(findings: Sequence[Finding]) -> Mapping[str, Any]:
    """A log with one run; its rules are those that were broken."""
    codes = sorted({finding.code for finding in findings})
    driver = {
        "name": "rb validate",
        "semanticVersion": version("rootmend"),
        "rules": [_rule(RULES[code]) for code in codes],
    }
    results = [_result(finding, codes.index(finding.code)) for finding in findings]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def _rule(rule: Rule) -> Mapping[str, Any]:
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.title.split()),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.advice},
        "defaultConfiguration": {"level": str(rule.severity)},
    }


def _result(finding: Finding, index: int) -> Mapping[str, Any]:
    text = f"{finding.message} ({finding.advice})" if finding.advice else finding.message
    place = {
        "artifactLocation": {"uri": _uri(finding.path)},
        "region": {"startLine": finding.line, "startColumn": finding.column},
    }
    return {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": str(finding.severity),
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
    }


def _uri(path: Path | None) -> str:
    """Relative to where the command was called, as code scanning expects it; else absolute."""
    if path is None:
        return ""
    absolute = path.absolute()
    here = Path.cwd()
    return quote(absolute.relative_to(here).as_posix()) if absolute.is_relative_to(here) else absolute.as_uri()
