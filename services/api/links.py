"""Pages behind signed links: one person's answer to one question about one plan.

Looking changes nothing, however often: mail scanners and previews open every link. Only the form of the page answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from urllib.parse import parse_qs

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from executor.errors import Temporary
from executor.ports import Clock
from safety.approvals import Approval, ApprovalError, ApprovalStatus, ApprovalStore, Verb
from safety.links import BadLink, Link, form_key, read, same
from safety.quorum import Choice
from services.access.identities import BadIdentity, Directory
from services.api.guard import Refused, bounded_body
from services.approvals.answering import Answer, Answering
from services.approvals.facts import Question, Redact, question_of
from services.approvals.ports import UsedLinks
from services.ports import DecisionLedger

log = structlog.get_logger(__name__)

PATH = "/approvals/links/{token}"
_FORM = "application/x-www-form-urlencoded"
_MOST_BYTES = 20_000
_OWN_SITE = frozenset({"same-origin", "none"})
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
_VERBS = {"approve": Verb.APPROVE, "deny": Verb.DENY}


class LinkPages:
    """The pages.

    Args:
        keys: signing keys by name, those of before included.
        used: links that were used.
        directory: who a link may be for: somebody who left it can answer nothing any more.
    """

    def __init__(
        self,
        *,
        keys: Mapping[str, str],
        used: UsedLinks,
        approvals: ApprovalStore,
        ledger: DecisionLedger,
        answering: Answering,
        directory: Directory,
        clock: Clock,
        redact: Redact,
    ) -> None:
        self._keys = keys
        self._used = used
        self._approvals = approvals
        self._ledger = ledger
        self._answering = answering
        self._directory = directory
        self._clock = clock
        self._redact = redact

    def routes(self) -> list[Route]:
        """One address: shown with GET, answered with POST."""
        return [Route(PATH, self._get, methods=["GET"]), Route(PATH, self._post, methods=["POST"])]

    async def _get(self, request: Request) -> Response:
        try:
            return await self._shown(request.path_params["token"])
        except Refused as refused:
            return _page(refused.status, "This link does not work", f"<p>{escape(refused.reason)}</p>")
        except Temporary:
            return _page(503, "Try again later", "<p>The record cannot be read now. Nothing was answered.</p>")

    async def _post(self, request: Request) -> Response:
        try:
            return await self._answered(request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except Refused as refused:
            log.warning("link.refused", status=refused.status, why=refused.reason)
            return _page(refused.status, "Nothing was answered", f"<p>{escape(refused.reason)}</p>")
        except Temporary:
            return _page(503, "Try again later", "<p>The record cannot be reached now; look again who answered.</p>")

    async def _shown(self, token: str) -> Response:
        link = self._read(token)
        approval = await self._approval(link)
        if approval.status is not ApprovalStatus.PENDING:
            return _page(200, _title(approval), await self._told(approval))
        if await self._used.used(link.id):
            raise Refused(410, "this link was used already; the question still waits for others")
        facts = await self._told(approval)
        return _page(200, _title(approval), facts + _form(approval, link.person, form_key(token, self._keys)))

    async def _answered(self, request: Request) -> Response:
        token = request.path_params["token"]
        link = self._read(token)
        if request.headers.get("sec-fetch-site", "same-origin") not in _OWN_SITE:
            raise Refused(403, "the answer came from another site")
        given = _fields(await bounded_body(request, _MOST_BYTES, _FORM))
        if not same(given.get("form", ""), form_key(token, self._keys)):
            raise Refused(403, "the answer did not come from the page of this link: open the link and answer there")
        verb = _VERBS.get(given.get("answer", ""))
        if verb is None:
            raise Refused(400, "answer with one of the buttons")
        approval = await self._approval(link)
        said = Answer(
            approval.id,
            link.plan_hash,
            verb,
            reason=given.get("reason", ""),
            choice=given.get("approve_choice" if verb is Verb.APPROVE else "deny_choice", ""),
            surface="link",
        )
        return await self._carried_out(link, said)

    async def _carried_out(self, link: Link, said: Answer) -> Response:
        """Use the link up, then answer; an answer that does not count gives it back."""
        try:
            actor = self._directory.user(link.person)
        except BadIdentity as error:
            raise Refused(403, str(error)) from error
        use = await self._used.take(link.id, said.approval_id, self._clock.now())
        if not use:
            stands = await self._approvals.get(said.approval_id)
            by = (
                f" The question is {stands.status.value} by {stands.answered_by}."
                if stands and stands.answered_by
                else ""
            )
            raise Refused(409, f"this link was used already.{by}")
        answered = await self._answering.answer(said, actor)
        if isinstance(answered, ApprovalError):
            await self._used.free(link.id, use)
            raise Refused(409, f"this answer does not count: {answered.message}")
        return _page(200, _title(answered), await self._told(answered))

    def _read(self, token: str) -> Link:
        try:
            link = read(token, self._keys)
        except BadLink as error:
            raise Refused(404, str(error)) from error
        if link.over(self._clock.now()):
            raise Refused(410, "this link has expired")
        if link.person not in self._directory.ids:
            raise Refused(403, "whom this link was for is not among the people of this installation any more")
        return link

    async def _approval(self, link: Link) -> Approval:
        approval = await self._approvals.get(link.approval_id)
        if approval is None:
            raise Refused(404, "the question is not on record")
        if approval.plan_hash != link.plan_hash:
            raise Refused(409, "the plan has changed: this link was for another one")
        return approval

    async def _told(self, approval: Approval) -> str:
        for story in await self._ledger.find(approval.execution_id, 1):
            for told in story.executions:
                if told.record.id == approval.execution_id:
                    return _facts(question_of(approval, told.record, story.decision, self._redact))
        raise Refused(409, "the plan is not on record: nobody can answer what cannot be shown")


def _fields(body: bytes) -> dict[str, str]:
    try:
        found = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
    except (UnicodeDecodeError, ValueError) as error:
        raise Refused(400, "this is no form") from error
    return {name: values[0] for name, values in found.items()}


def _title(approval: Approval) -> str:
    if approval.status is ApprovalStatus.PENDING:
        return "Approval needed"
    by = f" by {approval.answered_by}" if approval.answered_by else ""
    return f"{approval.status.value.capitalize()}{by}"


def _facts(question: Question) -> str:
    approval = question.approval
    about = [f"{question.runbook} {question.version} on {question.target}", *question.chain]
    about += [f"Why a human: {reason}" for reason in approval.reasons]
    about += [f"Blast radius: {question.blast}"] if question.blast else []
    about.append(f"Rollback: {question.rollback}")
    about += [f"Yes by {yes.by}" for yes in approval.yeses]
    if approval.status is ApprovalStatus.PENDING:
        about += [f"Still needed: {who}" for who in approval.lacking]
        about.append(f"Open until {approval.expires_at:%Y-%m-%d %H:%M:%S} UTC")
    writes = (
        f"<li>{escape(one.summary)} ({escape(one.undo or 'cannot be undone')})"
        f"<pre>{escape(chr(10).join(one.diff))}</pre></li>"
        for one in question.writes
    )
    said = "".join(f"<p>{escape(line)}</p>" for line in about)
    return f"{said}<ol>{''.join(writes)}</ol>"


def _form(approval: Approval, who: str, key: str) -> str:
    yes = [one for rule in approval.rules for one in rule.approve]
    no = [one for rule in approval.rules for one in rule.reject]
    return (
        f'<form method="post"><p>You answer as <b>{escape(who)}</b>, once.</p>'
        f'<input type="hidden" name="form" value="{escape(key)}">'
        "<p><label>Comment (goes on record; a no needs one)<br>"
        '<textarea name="reason" maxlength="2000" rows="3" cols="60"></textarea></label></p>'
        f"{_select('approve_choice', 'How', yes)}{_select('deny_choice', 'Why not', no)}"
        '<button name="answer" value="approve">Approve</button> <button name="answer" value="deny">Deny</button></form>'
    )


def _select(name: str, label: str, choices: list[Choice]) -> str:
    if not choices:
        return ""
    options = "".join(
        f'<option value="{escape(one.value)}">{escape(one.label or one.value)}</option>'
        for one in dict.fromkeys(choices)
    )
    return f'<p><label>{label} <select name="{name}"><option value=""></option>{options}</select></label></p>'


def _page(status: int, title: str, body: str) -> Response:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head>{head}</head><body><h1>{escape(title)}</h1>{body}</body></html>',
        status,
        _HEADERS,
    )
