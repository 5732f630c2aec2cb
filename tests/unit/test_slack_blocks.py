"""Questions as Block Kit: within Slack's limits whatever is in them, and nothing foreign means anything there."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from fakes.slack_questions import approval, question
from fakes.voters import NOBODY_KNOWS
from hypothesis import given, settings
from hypothesis import strategies as st

from compose.slack.rules import WHOLE_MESSAGE, length, problems_of_message, problems_of_view, texts_in, too_long
from safety.approvals import ApprovalStatus, Verb, answer
from safety.quorum import Choice, Rule
from services.approvals.progress import Progress
from services.slack import blocks
from services.slack.text import block_of, clean, code, escaped, joined, plain

STATUSES = ("pending", "approved", "denied", "expired")
HOSTILE = (
    "<!channel> <!here> <!everyone>",
    "<@U0ALICE> <#C0SRE|general> <!subteam^S1>",
    "<https://evil.example|click here> https://evil.example",
    "*bold* _it_ ~no~ `code` ```block``` > quote",
    "` ``` `` & &amp; &lt;!channel&gt;",
    "\x1b[2J\x1b]0;owned\x07\x00\x08",
    "\u202eevitcaer\u202c \u2066x\u2069 \u200b\ufeff",
    "line one\nline two\r\n\u2028three\u2029four",
    "x" * 5_000,
    "<" * 5_000,
    "\U0001f600" * 4_000,
    "\ud800 lone",
    '{"a":"b"} \\" \\n',
    "",
    "   ",
)
_TOKENS = re.compile(r"<([^>]*)>")


def markup(value):
    """Every text that Slack would look for markup in."""
    if isinstance(value, dict):
        if value.get("type") == "mrkdwn":
            yield value["text"]
        for part in value.values():
            yield from markup(part)
    elif isinstance(value, list):
        for part in value:
            yield from markup(part)


def meant(text):
    """What Slack would act on: control sequences, and formatting outside of code."""
    tokens = [one for one in _TOKENS.findall(text) if not one.startswith("!date^")]
    outside = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    return tokens, outside


def harmless(shown, text):
    """Whether nothing of a hostile text reached a place where it means something."""
    for piece in markup(shown):
        tokens, outside = meant(piece)
        assert tokens == []
        assert piece.count("`") % 2 == 0
        assert "evil.example" not in outside
        assert "bold" not in outside
    written = json.dumps(shown, ensure_ascii=False)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200b\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]", written)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_values_are_shown_and_mean_nothing(text, status):
    """Mentions, links, formatting, terminal codes, marks of direction: text, in the message and in the dialogs."""
    asked = question(text, writes=3, status=status)
    for shown in (
        blocks.message(asked),
        blocks.details(asked)["blocks"],
        blocks.dialog(asked, approve=False, channel="C1", message_id="1.1")["blocks"],
    ):
        harmless(shown, text)
    tokens, _ = meant(blocks.headline(asked))
    assert tokens == []


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("writes", "lines"), [(0, 0), (1, 500), (40, 3), (60, 60)])
@pytest.mark.parametrize("text", ["short", "<&>" * 3_000, "\U0001f600" * 3_000])
def test_every_block_stays_within_the_limits_of_slack(text, writes, lines, status):
    """A plan of any size makes a message and a dialog that Slack takes."""
    asked = question(text, writes=writes, lines=lines, status=status)
    shown = blocks.message(asked)
    assert problems_of_message(shown) == []
    assert not too_long(shown), sum(length(one) for one in texts_in(shown))
    assert problems_of_view(blocks.details(asked)) == []
    for approve in (True, False):
        assert problems_of_view(blocks.dialog(asked, approve=approve, channel="C1", message_id="1.1")) == []
    assert length(blocks.headline(asked)) <= 500


@given(
    text=st.text(max_size=400), writes=st.integers(0, 12), lines=st.integers(0, 30), status=st.sampled_from(STATUSES)
)
@settings(deadline=None, max_examples=25)
def test_any_text_makes_a_message_that_slack_takes(text, writes, lines, status):
    """Whatever comes in from an alert or a manifest, the question can be asked."""
    asked = question(text, writes=writes, lines=lines, status=status)
    shown = blocks.message(asked)
    assert problems_of_message(shown) == []
    assert not too_long(shown)
    assert problems_of_view(blocks.details(asked)) == []
    assert problems_of_view(blocks.dialog(asked, approve=False, channel="C1", message_id="1.1")) == []
    for piece in markup(shown):
        assert meant(piece)[0] == []


@given(st.text(), st.integers(10, 300))
def test_texts_are_cut_where_slack_counts(text, most):
    """In UTF-16 units, never in the middle of an escaped character."""
    for made in (escaped(text, most), code(text, most), plain(text, most)):
        assert length(made) <= most
    assert re.fullmatch(r"(?:[^&<>]|&amp;|&lt;|&gt;)*", escaped(text, most), re.DOTALL)


@given(st.lists(st.text(max_size=500), max_size=80), st.integers(200, 3_000))
def test_lines_that_do_not_fit_are_counted(lines, most):
    """People see that something is missing, and how much."""
    for made in (block_of(lines, most), joined([code(line) for line in lines], most)):
        assert length(made) <= most
    shown = block_of([f"- {line}" for line in lines], 200)
    if sum(length(clean(line)) + 3 for line in lines) > 1_000:
        assert "more lines" in shown


def buttons(asked):
    """Ids of the buttons of a message."""
    return [
        element["action_id"]
        for block in blocks.message(asked)
        for element in block.get("elements", ())
        if "action_id" in element
    ]


@pytest.mark.parametrize("status", STATUSES)
def test_only_an_open_question_can_be_answered(status):
    """Once it is settled the buttons are gone; the plan can still be looked at."""
    found = buttons(question(status=status))
    wanted = [blocks.APPROVE, blocks.DENY, blocks.DETAILS] if status == "pending" else [blocks.DETAILS]
    assert found == wanted


def test_a_settled_question_says_by_whom_and_why():
    """Everybody in the channel sees the answer, not only the one who gave it."""
    said = json.dumps(blocks.message(question("too dangerous", status="denied")), ensure_ascii=False)
    assert "*Denied* by `ada`" in said
    assert "`too dangerous`" in said
    assert "`not_now`" in said
    assert "nobody answered" in json.dumps(blocks.message(question(status="expired")))


def test_a_kept_yes_shows_who_is_still_needed():
    """A question that two people have to answer tells who did."""
    half = approval("sre")
    facts = {"now": half.requested_at, "plan_hash": half.plan_hash, "voter": NOBODY_KNOWS}
    half = answer(half, Verb.APPROVE, by="ada", reason="", **facts)
    asked = question("sre")
    shown = json.dumps(blocks.message(replace(asked, approval=half)))
    assert "yes by `ada`" in shown
    assert "still needed: `sre: 1 more person" in shown


def test_a_dialog_asks_what_the_rules_ask():
    """A no names one of the reasons that are offered; a yes needs a comment only where a rule says so."""
    asked = question()
    no = blocks.dialog(asked, approve=False, channel="C1", message_id="1.1")["blocks"]
    values = [
        option["value"]
        for block in no
        if block.get("block_id") == blocks.CHOICE
        for option in block["element"]["options"]
    ]
    assert values == ["too_risky", "not_now"]
    assert [block["optional"] for block in no if block["type"] == "input"] == [False, False]
    assert not asked.needs_comment
    for rule in (Rule("r", comment_required=True), Rule("r", approve=(Choice("with_care"),))):
        careful = replace(asked, approval=replace(asked.approval, rules=(rule,)))
        assert careful.needs_comment


@pytest.mark.parametrize("text", HOSTILE)
def test_progress_is_bounded_and_means_nothing(text):
    """Errors of steps come from outside as well."""
    told = Progress("e-1", "running", "900 succeeded", (text,) * 16, ending=text)
    for shown in (blocks.progress(told), blocks.ending(told)):
        assert problems_of_message(shown) == []
        harmless(shown, text)


def test_every_status_has_words():
    """A new status must not break the messages."""
    assert set(blocks._SAID) == set(ApprovalStatus)
    assert WHOLE_MESSAGE < 11_000
