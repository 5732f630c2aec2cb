"""Entries and executions in the words of other systems."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.segments import Segments
from safety.trail import FIELDS, Entry, EntryKind
from services.audit.exporting import _csv
from services.audit.forms import cef, ocsf

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEXTS = st.text(max_size=40)
OCSF = {
    # What the schema of OCSF 1.3 requires of every event, and of the two classes that are used.
    "type": "object",
    "required": ["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"],
    "properties": {
        "activity_id": {"enum": [1, 2, 3, 4, 99]},
        "category_uid": {"enum": [3, 6]},
        "class_uid": {"enum": [3002, 6003]},
        "severity_id": {"enum": [0, 1, 2, 3, 4, 5, 6, 99]},
        "status_id": {"enum": [0, 1, 2, 99]},
        "time": {"type": "integer", "minimum": 1_000_000_000_000},
        "type_uid": {"type": "integer"},
        "message": {"type": "string", "minLength": 1},
        "metadata": {
            "type": "object",
            "required": ["product", "version"],
            "properties": {
                "version": {"pattern": r"^1\.3\.0$"},
                "product": {"type": "object", "required": ["vendor_name"]},
                "sequence": {"type": "integer"},
            },
        },
    },
    "if": {"properties": {"class_uid": {"const": 3002}}},
    "then": {
        "required": ["user"],
        "anyOf": [{"required": ["service"]}, {"required": ["dst_endpoint"]}],
        "properties": {"user": {"anyOf": [{"required": ["name"]}, {"required": ["uid"]}]}},
    },
    "else": {
        "required": ["actor", "api", "src_endpoint"],
        "properties": {
            "actor": {"anyOf": [{"required": ["user"]}, {"required": ["process"]}, {"required": ["app_name"]}]},
            "api": {"required": ["operation"]},
            "src_endpoint": {"anyOf": [{"required": [name]} for name in ("ip", "uid", "name", "hostname", "svc_name")]},
            "resources": {"type": "array", "items": {"type": "object"}},
        },
    },
}


def row(entry):
    with Segments("tests").writing() as draft:
        sealed = draft.seal({"acme": [entry]}, NOW)[1]
    return {name: getattr(sealed, name) for name in FIELDS}


@pytest.mark.parametrize("kind", list(EntryKind))
def test_every_kind_is_an_event_of_ocsf(kind):
    """Its class, its required attributes, and a type that is made of class and activity."""
    event = ocsf(row(Entry(kind, "x-1", "ann", "why", {"status": "failed"}, incident_id="i-1")))
    jsonschema.validate(event, OCSF)
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    assert event["class_uid"] // 1000 == event["category_uid"]
    assert event["metadata"]["correlation_uid"] == "i-1"


def test_a_denied_access_is_a_failure_and_worth_a_look():
    """A SIEM sorts by these."""
    event = ocsf(row(Entry(EntryKind.DENIED, "approve", "bob", "no role")))
    assert (event["status"], event["severity"], event["actor"]["user"]["name"]) == ("Failure", "Medium", "bob")


@given(actor=TEXTS, reason=TEXTS, subject=TEXTS)
def test_a_line_of_cef_is_read_as_it_was_meant_whatever_it_holds(actor, reason, subject):
    """Bars, equals signs, backslashes and line ends of an alert do not become fields of ours."""
    given_row = row(Entry(EntryKind.PAUSED, subject, actor, reason))
    line = cef(given_row)
    assert len(line.splitlines()) == 1 or not re.search(r"[\r\n]", line)
    head = re.split(r"(?<!\\)(?:\\\\)*\|", line, maxsplit=7)
    assert (head[0], len(head), head[4]) == ("CEF:0", 8, "pause.set")
    assert 0 <= int(head[6]) <= 10
    told = parsed(head[7])
    assert (told["suser"], told["cs2"] if subject else "") == (
        shown_form(given_row["actor"]),
        shown_form(subject),
    )


def shown_form(text):
    """As a line of a log can hold it: what a terminal would obey is a space."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in unescaped_form(text))


def parsed(text):
    """The extension as a receiver reads it: a key is a word before an equals sign that is not escaped."""
    marks = list(re.finditer(r"(?:^| )([A-Za-z0-9]+)=", text))
    marks = [mark for mark in marks if not preceded_by_backslash(text, mark.end() - 1)]
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {
        mark[1]: re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\n"}.get(m[1], m[1]), text[mark.end() : end])
        for mark, end in zip(marks, ends, strict=True)
    }


def preceded_by_backslash(text, place):
    before = re.search(r"\\*$", text[:place])
    return bool(before and len(before[0]) % 2)


def unescaped_form(text):
    return text.replace("\r\n", "\n").replace("\r", "\n")


def test_a_cell_of_csv_is_no_formula():
    """Who opens it in a spreadsheet runs nothing."""
    assert "'=HYPERLINK" in _csv(row(Entry(EntryKind.PAUSED, "x", "ann", '=HYPERLINK("http://evil")')))
