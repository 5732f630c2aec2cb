"""What alerts and people write is text wherever it is shown: in Slack, terminals, logs, pages, tables and exports."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest
import structlog
from fakes.hostile import params

from executor.actions.shell import CommandParams
from executor.errors import Invalid
from executor.model import ObjectRef
from executor.people_ports import Mail
from runbooks.drawing import Drawing, Edge, Kind, Node, to_dot, to_mermaid
from runbooks.drawing_svg import to_svg
from safety.trail import EntryKind
from services import logs
from services.audit.exporting import _csv
from services.audit.forms import cef
from services.browser import _file_name
from services.cli import runtime
from services.cli.app import main
from services.cli.moments import Moment, Timeline, markdown
from services.cli.terminal import Harmless, escaped_json, harmless
from services.kubernetes.kinds import Resource
from services.mail import MailServer, as_message
from services.review.report import Check, Outcome
from services.review.report import markdown as review
from services.slack.text import block_of, code, disarmed, escaped, plain
from services.slack.text import size as slack_size

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEXTS = params("texts")
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff\u2028\u2029]")
"""What a terminal obeys, and what turns, hides or breaks lines."""


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("case", TEXTS)
def test_slack_shows_a_text_and_obeys_nothing_in_it(case):
    """No mention, no link with another label, no formatting, no hidden text, in every kind of text of a message."""
    text = case["text"]
    for shown in (escaped(text, 500), code(text), block_of([text], 900)):
        assert not re.search(r"<[^>]*>", shown)
        assert not OBEYED.search(shown.replace("\n", ""))
    assert "`" not in code(text)[1:-1]
    assert not set("<>") & set(plain(text, 500))
    assert slack_size(plain(text, 500)) <= 500


@pytest.mark.parametrize("case", TEXTS)
def test_a_message_of_a_runbook_calls_nobody_whatever_an_alert_says(case):
    """Authors may format; mentions and links that look like others are disarmed."""
    sent = disarmed(f"*Memory* of {case['text']} was raised: <https://runbooks.example/x>")
    assert not re.search(r"<[!@#][^>]*>|<!", sent)
    assert not re.search(r"<[^>]*\|[^>]*>", sent)
    assert "<https://runbooks.example/x>" in sent


@pytest.mark.parametrize("case", TEXTS)
def test_a_terminal_gets_text_only(case, monkeypatch):
    """Tables, remarks and errors of every command, on a terminal and into a pipe."""
    text = case["text"]
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", Harmless(out))
    monkeypatch.setattr(sys, "stderr", Harmless(err))
    runtime.print_table(("name", "why"), [(text, f"[bold]{text}")])
    runtime.note(text)
    sys.stdout.write(text)
    # Together the two are the end of a line.
    written = (out.getvalue() + err.getvalue()).replace("\r\n", "\n")
    assert not OBEYED.search(re.sub(r"\x1b\[[0-9;]*m", "", written))
    assert not re.search(r"\x1b\[(?:\d+;)*[5678](?:;\d+)*m", written)
    assert not OBEYED.search(harmless(text).replace("\r\n", "\n"))
    pipe = io.StringIO()
    Harmless(pipe).write(text)
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", pipe.getvalue())


@pytest.mark.parametrize("case", TEXTS)
def test_json_of_a_command_means_the_same_and_shows_nothing_else(case):
    """What a terminal would obey is escaped; a program reads what was there."""
    text = case["text"].encode("utf-8", "replace").decode()
    written = escaped_json(json.dumps({"a": text}, ensure_ascii=False))
    assert not OBEYED.search(written)
    assert json.loads(written) == {"a": text}


@pytest.fixture(params=["json", "human"])
def logged(request):
    """Lines of the log as they are written."""
    stream = io.StringIO()
    logs.configure("info", request.param, stream)
    yield stream
    logs.configure("warning", "json")


@pytest.mark.parametrize("case", TEXTS)
def test_a_text_cannot_write_lines_into_the_log(case, logged):
    """One event is one line, whatever an alert says."""
    structlog.stdlib.get_logger("x").info("seen", reason=case["text"], many=[case["text"]])
    lines = [line for line in logged.getvalue().split("\n") if line]
    assert len(lines) == 1
    assert not OBEYED.search(lines[0])


@pytest.mark.parametrize("case", TEXTS)
def test_markdown_of_a_post_mortem_and_a_review_holds_text(case):
    """No link, picture, heading, table cell or markup of others."""
    text = case["text"]
    told = Timeline("i-1", text, text, (Moment(NOW, "step", text, text),))
    page = markdown(told)
    assert not re.search(r"(?<!\\)\]\(|(?<!\\)<[a-zA-Z!/]", page)
    rows = [line for line in page.splitlines() if line.startswith("| 2026")]
    assert len(rows) == 1
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", rows[0])) == 5
    assert not OBEYED.search(page.replace("\n", ""))
    report = review(text, [Check("validate", "rb validate x", Outcome.FAILED, "1 error", (text, "```"))])
    fence = max(re.findall(r"^(`{3,})text$", report, re.MULTILINE), key=len)
    inside = report.split(f"{fence}text\n", 1)[1].split(f"\n{fence}\n", 1)[0]
    assert fence not in inside
    assert not OBEYED.search(report.replace("\n", "").replace("\t", ""))


@pytest.mark.parametrize("case", TEXTS)
def test_pictures_of_runbooks_hold_text(case):
    """SVG is well-formed and has no element or attribute of others; Mermaid and DOT stay one statement a line."""
    text = case["text"]
    nodes = (Node("a", Kind.STEP, text, (text,)), Node("b", Kind.STEP, "b"))
    drawing = Drawing(text, nodes, (Edge("a", "b", label=text),))
    tree = ET.fromstring(to_svg(drawing))  # noqa: S314 - our own output
    names = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert names <= {"svg", "title", "defs", "marker", "path", "rect", "text", "tspan", "g", "polygon", "ellipse"}
    attributes = {name for element in tree.iter() for name in element.attrib}
    assert not any(name.startswith("on") or name.endswith("href") for name in attributes)
    plain_lines = [
        len(to(Drawing("t", (Node("a", Kind.STEP, "x", ("x",)), nodes[1]), (Edge("a", "b", label="x"),))).splitlines())
        for to in (to_mermaid, to_dot)
    ]
    assert [len(to(drawing).splitlines()) for to in (to_mermaid, to_dot)] == plain_lines
    assert "<script" not in to_mermaid(drawing)


@pytest.mark.parametrize("case", TEXTS)
def test_exports_hold_no_formula_and_no_second_line(case):
    """CSV for spreadsheets, CEF for collectors."""
    text = case["text"]
    row = {
        "kind": EntryKind.PAUSED.value, "at": NOW.isoformat(), "segment": "s", "seq": 1, "actor": text, "reason": text,
        "tenant": text, "subject": text, "incident_id": text, "execution_id": text, "facts": "{}", "hash": "h",
        "prev": "p",
    }  # fmt: skip
    (cells,) = csv.reader(io.StringIO(_csv(row)))
    for cell in cells:
        assert (
            cell.strip('\x00\t\r\n \x0b\x0c\xa0\u200b\ufeff"')[:1] not in set("=+-@|%\uff1d\uff0b\uff20")
            or cell[:1] == "'"
        )
    line = cef(row)
    assert len(line.splitlines()) == 1
    assert not OBEYED.search(line)
    head = re.split(r"(?<!\\)(?:\\\\)*\|", line, maxsplit=7)
    assert (head[0], head[4]) == ("CEF:0", "pause.set")
    assert len(re.findall(r"(?:^| )suser=", head[7])) == 1


@pytest.mark.parametrize("case", TEXTS)
def test_a_mail_gets_no_further_header(case):
    """Subject and references come from alerts."""
    text = case["text"].encode("utf-8", "replace").decode()
    server = MailServer(host="h", port=25, sender="a@example.com", tls="none", recipients=("b@example.com",))
    message = as_message(Mail(text, text, text), server)
    head = message.as_bytes().partition(b"\n\n")[0].decode()
    names = [line.partition(":")[0] for line in head.splitlines() if not line[:1].isspace()]
    assert len(names) == len(set(names))
    assert set(names) <= {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Type",
        "Content-Transfer-Encoding", "MIME-Version",
    }  # fmt: skip


@pytest.mark.parametrize("case", TEXTS)
def test_an_argument_of_a_program_stays_one_argument(case):
    """There is no shell between a runbook and a program; a null byte is refused."""
    text = case["text"]
    if "\0" in text:
        with pytest.raises(ValueError, match="null byte"):
            CommandParams(argv=["/bin/echo", text])
        return
    given = CommandParams(argv=["/bin/echo", text])
    assert list(given.argv) == ["/bin/echo", text]


POD = Resource("Pod", "pods", "", "v1", namespaced=True)


@pytest.mark.parametrize("case", params("names"))
def test_a_name_is_no_path_of_the_api_server(case):
    """Neither as a name nor as a namespace; without a name it would be the whole collection."""
    name = case["name"]
    if name:
        with pytest.raises(Invalid):
            POD.path("shop", name)
        with pytest.raises(Invalid):
            POD.path(name, "web-1")
    assert POD.path("shop", "web-1") == "/api/v1/namespaces/shop/pods/web-1"


@pytest.mark.parametrize("case", params("names"))
def test_a_name_is_no_path_of_a_file(case):
    """Pictures lie in the folder of their execution."""
    made = _file_name(case["name"])
    assert "/" not in made
    assert made not in {"", ".", ".."}
    assert made.isprintable()


async def test_nothing_without_a_name_is_changed():
    """The path of an object without its name is that of all of them."""
    from services.kubernetes.cluster import KubernetesCluster  # noqa: PLC0415 - only this test

    cluster = object.__new__(KubernetesCluster)

    async def resource(*_):
        return POD

    cluster.resource = resource
    with pytest.raises(Invalid, match="no Pod is named"):
        await cluster._path(ObjectRef(kind="Pod", name="", namespace="shop"))


COMMANDS = [
    ("validate", "{file}"),
    ("validate", "--format", "json", "{file}"),
    ("validate", "--format", "github", "{file}"),
    ("validate", "--format", "sarif", "{file}"),
    ("lint", "{file}"),
    ("fmt", "--check", "{file}"),
    ("graph", "{file}"),
    ("convert", "{file}"),
    ("diff", "{file}", "{file}"),
    ("test", "{file}"),
    ("validate", "{text}"),
    ("policy", "validate", "{file}"),
    ("--config", "{file}", "config", "check"),
    ("--config", "{file}", "config", "show"),
    ("catalog", "install", "{text}"),
    ("lint", "--explain", "{text}"),
    ("actions", "{text}"),
    ("{text}",),
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: "-".join(words).replace("{", "").replace("}", ""))
def test_a_command_writes_nothing_that_a_terminal_obeys(words, tmp_path, capsys):
    """Files, names and arguments of others are shown by errors and results alike."""
    text = "\x1b]0;owned\x07\x1b[2J\x1b[8m\u202eevil\x9b2J\rx"
    file = tmp_path / "r.yaml"
    inside = '"' + "".join(f"\\u{ord(char):04x}" for char in text) + '"'
    file.write_text(
        f"runbook:\n  id: x\n  name: {inside}\n  {inside}: 1\n  trigger: {{root_cause_reason: {inside}}}\n"
        f"  steps:\n    - {{name: {inside}, action: {inside}, params: {{{inside}: 1}}}}\n"
    )
    main([word.format(file=file, text=text) for word in words])
    told = capsys.readouterr()
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)", told.out + told.err)
    assert told.out + told.err


def test_every_command_of_the_product_writes_through_the_filter(monkeypatch):
    """A command cannot forget it: it is put around whatever is run."""
    from services.cli import app  # noqa: PLC0415 - its table is looked at

    seen = {}

    def run(name, function, arguments):
        seen[name] = isinstance(sys.stdout, Harmless) and isinstance(sys.stderr, Harmless)
        return 0

    monkeypatch.setattr("services.cli.commands.run_command", run)
    monkeypatch.setattr(app, "resolve", lambda _: None)
    for name in app.COMMANDS:
        app._run(name, [], app.Line(()))
    assert {name for name, filtered in seen.items() if not filtered} == {"up", "browser", "demo"}
    assert len(seen) > 50
    assert not isinstance(sys.stdout, Harmless)
