"""The console script ``rb``: finds the command and runs it.

A command is named here by text and imported when it is used, so that ``rb --help`` answers at once, and so that the
product does not depend on the local stack although one script starts both.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

OK, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True, slots=True)
class Command:
    """One command: where its function lives, and one line about it."""

    target: str
    help: str
    section: str


COMMANDS: dict[str, Command] = {
    "up": Command("compose.cli:up", "Start the local stack: Kafka, Neo4j, Redis, practice cluster", "Stack"),
    "down": Command("compose.cli:down", "Stop the local stack", "Stack"),
    "status": Command("compose.cli:status", "What of the local stack runs, and where", "Stack"),
    "logs": Command("compose.cli:logs", "Logs of the local servers", "Stack"),
    "doctor": Command("compose.cli:doctor", "Check that this machine can run the stack", "Stack"),
    "browser": Command("compose.cli:browser", "A Chromium for pictures of pages, fetched if there is none", "Stack"),
    "serve": Command("services.cli.serve:serve", "Run the pipeline", "Pipeline"),
    "demo": Command("compose.demo.cli:demo", "Watch incidents being handled", "Pipeline"),
    "run": Command("services.cli.run:run", "Ask for a runbook, or see what it would do", "Pipeline"),
    "pause": Command("services.cli.pause:pause", "Stop automation, or a part, before its next step", "Pipeline"),
    "pause list": Command("services.cli.pause:pause_list", "What is paused, by whom, why and until when", "Pipeline"),
    "resume": Command("services.cli.pause:resume", "Lift a pause", "Pipeline"),
    "breaker list": Command("services.cli.breaker:breaker_list", "What a storm has stopped", "Pipeline"),
    "breaker reset": Command("services.cli.breaker:breaker_reset", "Let it go on after a storm", "Pipeline"),
    "new": Command("services.cli.new:new", "Begin a runbook from a template", "Runbooks"),
    "validate": Command("services.cli.validate:validate", "Check runbooks", "Runbooks"),
    "lint": Command("services.cli.lint:lint", "Check runbooks, or explain a rule", "Runbooks"),
    "fmt": Command("services.cli.fmt:fmt", "Lay runbooks out in one way, comments kept", "Runbooks"),
    "graph": Command("services.cli.graph:graph", "Draw a runbook: Mermaid, SVG or DOT", "Runbooks"),
    "diff": Command("services.cli.diff:diff", "What a changed runbook means for production", "Runbooks"),
    "score": Command("services.cli.score:score", "Which runbooks are worth automating", "Runbooks"),
    "convert": Command("services.cli.convert:convert", "Write another dialect in the canonical form", "Runbooks"),
    "loadtest": Command("services.cli.loadtest:loadtest", "A k6 script against a runbook's endpoint", "Runbooks"),
    "schema": Command("services.cli.validate:runbook_schema", "JSON Schema of runbooks, for editors", "Runbooks"),
    "actions": Command("services.cli.actions:actions", "What a step can do", "Runbooks"),
    "test": Command("services.cli.test:run_packs", "Try runbooks as their acceptance packs say", "Runbooks"),
    "test-schema": Command("services.cli.test:acceptance_schema", "JSON Schema of acceptance packs", "Runbooks"),
    "replay": Command("services.cli.replay:replay", "One recorded execution again, every difference shown", "Runbooks"),
    "backtest": Command("services.cli.backtest:backtest", "Recorded incidents against changed runbooks", "Runbooks"),
    "review": Command("services.cli.review:review", "Every check of a changed folder in one report", "Runbooks"),
    "versions": Command("services.cli.versions:versions", "Versions of a runbook, and how each did", "Runbooks"),
    "versions show": Command("services.cli.versions:versions_show", "The YAML of a version", "Runbooks"),
    "rollback-runbook": Command(
        "services.cli.versions:rollback_runbook", "Put an earlier version of a runbook in force", "Runbooks"
    ),
    "catalog add": Command("services.cli.catalog:catalog_add", "Remember a catalog of runbooks", "Sharing"),
    "catalog list": Command("services.cli.catalog:catalog_list", "The catalogs that were added", "Sharing"),
    "catalog remove": Command("services.cli.catalog:catalog_remove", "Forget a catalog", "Sharing"),
    "catalog search": Command("services.cli.catalog:catalog_search", "Search the catalogs", "Sharing"),
    "catalog install": Command("services.cli.catalog:catalog_install", "Install a runbook of others", "Sharing"),
    "catalog publish": Command("services.cli.catalog:catalog_publish", "Make a catalog of your runbooks", "Sharing"),
    "sign": Command("services.cli.signing:sign", "Sign runbooks that you have reviewed", "Sharing"),
    "verify": Command("services.cli.signing:verify", "Whether runbooks are as they were reviewed", "Sharing"),
    "keys generate": Command("services.cli.signing:keys_generate", "Make a key that signs runbooks", "Sharing"),
    "catalog keygen": Command("services.cli.catalog:catalog_keygen", "Make a key that signs catalogs", "Sharing"),
    "rbac needed": Command("services.cli.rbac:rbac_needed", "The Roles on Kubernetes that a runbook needs", "Runbooks"),
    "approvals list": Command("services.cli.approvals:approvals_list", "What waits for an answer", "Approvals"),
    "approvals show": Command("services.cli.approvals:approvals_show", "One question with its plan", "Approvals"),
    "approvals approve": Command("services.cli.approvals:approvals_approve", "Say yes to a plan", "Approvals"),
    "approvals deny": Command("services.cli.approvals:approvals_deny", "Say no, with a reason", "Approvals"),
    "approvals delegate": Command(
        "services.cli.delegations:delegate", "Hand your answers over for a time", "Approvals"
    ),
    "approvals delegations": Command("services.cli.delegations:delegations", "Who answers for whom", "Approvals"),
    "approvals undelegate": Command("services.cli.delegations:undelegate", "Take your answers back", "Approvals"),
    "policy validate": Command("services.cli.policy:policy_validate", "Check policies", "Policies"),
    "policy schema": Command("services.cli.policy:policy_schema", "JSON Schema of policies, for editors", "Policies"),
    "policy explain": Command("services.cli.policy:policy_explain", "Which policy decides what, and why", "Policies"),
    "policy test": Command("services.cli.policy:policy_test", "Try new policies on recorded decisions", "Policies"),
    "autonomy list": Command("services.cli.autonomy:autonomy_list", "What runbooks may do by themselves", "Policies"),
    "autonomy show": Command("services.cli.autonomy:autonomy_show", "The rung of a runbook, and the next", "Policies"),
    "autonomy promote": Command("services.cli.autonomy:autonomy_promote", "Let a runbook do more", "Policies"),
    "autonomy demote": Command("services.cli.autonomy:autonomy_demote", "Let a runbook do less", "Policies"),
    "autonomy history": Command("services.cli.autonomy:autonomy_history", "Every move of a runbook", "Policies"),
    "explain": Command("services.cli.explain:explain", "What happened and why, also why nothing did", "Inspect"),
    "timeline": Command("services.cli.timeline:timeline", "One incident in the order in which it happened", "Inspect"),
    "blast-radius": Command("services.cli.blast:blast_radius", "What a runbook would affect, as a tree", "Inspect"),
    "freeze list": Command("services.cli.freeze:freeze_list", "Periods in which nothing is changed", "Inspect"),
    "executions list": Command("services.cli.executions:executions_list", "Executions, newest first", "Inspect"),
    "executions show": Command("services.cli.executions:executions_show", "One execution with its steps", "Inspect"),
    "executions orphans": Command("services.cli.orphans:executions_orphans", "What nobody looks after", "Inspect"),
    "executions adopt": Command("services.cli.orphans:executions_adopt", "Have an orphan carried on", "Inspect"),
    "executions abort": Command("services.cli.orphans:executions_abort", "End an orphan, with a reason", "Inspect"),
    "executions repair": Command("services.cli.orphans:executions_repair", "Mend what needs no production", "Inspect"),
    "executions prune": Command("services.cli.retention:executions_prune", "Take old executions away", "Inspect"),
    "incidents export": Command("services.cli.incidents:incidents_export", "Recorded incidents as a file", "Inspect"),
    "login": Command("services.cli.login:login", "Log in at the identity provider", "Access"),
    "logout": Command("services.cli.login:logout", "Forget the login", "Access"),
    "whoami": Command("services.cli.access:access_whoami", "Who you are, and what you may do", "Access"),
    "access show": Command("services.cli.access:access_show", "Roles, permissions and who has them", "Access"),
    "access check": Command("services.cli.access:access_check", "Whether somebody may do something", "Access"),
    "access whoami": Command("services.cli.access:access_whoami", "Who you are, and what you may do", "Access"),
    "tokens create": Command("services.cli.tokens:tokens_create", "Make an API token, shown once", "Access"),
    "tokens list": Command("services.cli.tokens:tokens_list", "API tokens, and when they were used last", "Access"),
    "tokens revoke": Command("services.cli.tokens:tokens_revoke", "End an API token", "Access"),
    "audit verify": Command("services.cli.audit:audit_verify", "Whether the trail is what was written", "Audit"),
    "audit query": Command("services.cli.audit:audit_query", "Saved questions to the graph", "Audit"),
    "audit export": Command("services.cli.audit:audit_export", "The trail as JSON, CSV, OCSF or CEF", "Audit"),
    "audit prune": Command("services.cli.audit:audit_prune", "Take old entries away, with proof", "Audit"),
    "audit key": Command("services.cli.audit:audit_key", "The public key that signs anchors", "Audit"),
    "secrets list": Command(
        "services.cli.secrets:secrets_list", "Names of secrets, and where they are", "Configuration"
    ),
    "secrets check": Command("services.cli.secrets:secrets_check", "Whether each can be fetched", "Configuration"),
    "secrets rotate-key": Command(
        "services.cli.secrets:secrets_rotate_key", "Encrypt with the active key from now on", "Configuration"
    ),
    "config show": Command("services.cli.config:config_show", "The settings in force, secrets masked", "Configuration"),
    "config check": Command("services.cli.config:config_check", "Whether the settings can be used", "Configuration"),
    "migrate": Command("services.cli.retention:migrate", "Bring the graph's schema to this release", "Configuration"),
    "backup": Command("services.cli.retention:backup", "Our part of the graph as a file", "Configuration"),
    "restore": Command("services.cli.retention:restore", "Put a backup back", "Configuration"),
    "contracts": Command("services.cli.contracts:contracts", "Contracts as AsyncAPI and OpenAPI", "Configuration"),
    "version": Command("services.cli.config:version", "The version", "Configuration"),
}

_DRAWN = frozenset({"up", "browser", "demo"})
"""Commands whose display draws itself anew, of words of our own."""

_GLOBALS = (
    ("--config FILE", "Settings file (also ROOTMEND_CONFIG); default: ./rootmend.yaml, then the local stack's"),
    ("--no-color", "No colours, also on a terminal"),
    ("--debug", "Show the trace of an error"),
    ("--help, -h", "Show help; also behind any command"),
    ("--version", "Show the version"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A command line, with the options that every command knows taken out."""

    words: tuple[str, ...]
    config: str | None = None
    no_color: bool = False
    debug: bool = False


def read_line(arguments: Sequence[str]) -> Line:
    """Take the global options out, wherever they stand before ``--``.

    Raises:
        ValueError: ``--config`` without a file.
    """
    words: list[str] = []
    config: str | None = None
    flags: set[str] = set()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += [word, *rest]
            break
        if word in {"--no-color", "--debug"}:
            flags.add(word)
        elif word == "--config" or word.startswith("--config="):
            config = word.partition("=")[2] or (rest.pop(0) if word == "--config" and rest else "")
            if not config:
                raise ValueError("--config needs a file")
        else:
            words.append(word)
    return Line(tuple(words), config, "--no-color" in flags, "--debug" in flags)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``rb``; gives the exit code: 0 it held, 1 it did not hold, 2 wrong use or bad configuration."""
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(read_line(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away (| head): nothing more can be said, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001 - whatever it was, it is told in words
        if debug:
            _trace()
        return _complain(error)


def _dispatch(line: Line) -> int:
    words = list(line.words)
    if line.no_color:
        os.environ["NO_COLOR"] = "1"  # what rich and everything else that colours looks at
    if not words or words[0] in {"--help", "-h"}:
        print(overview())
        return OK if words else WRONG_USE
    if words[0] == "--version":
        words[0] = "version"
    name = _command_name(words)
    if name is None:
        return _not_a_command(words)
    return _run(name, words[len(name.split()) :], line)


def _command_name(words: Sequence[str]) -> str | None:
    for length in (2, 1):
        if (name := " ".join(words[:length])) in COMMANDS:
            return name
    return None


def _not_a_command(words: Sequence[str]) -> int:
    group = [name for name in COMMANDS if name.startswith(f"{words[0]} ")]
    if group and (len(words) == 1 or words[1] in {"--help", "-h"}):
        print(f"Usage: rb {words[0]} COMMAND [OPTIONS]\n\n{_listing(group)}\n\nMore: rb {group[0]} --help")
        return OK if len(words) > 1 else WRONG_USE
    from rapidfuzz import fuzz, process  # noqa: PLC0415 - keeps rb --help quick

    given = " ".join(words[:2] if group else words[:1])
    choices = group or sorted({*COMMANDS, *(name.partition(" ")[0] for name in COMMANDS)})
    found = process.extractOne(given, choices, scorer=fuzz.ratio, score_cutoff=50)
    hint = f" Did you mean 'rb {found[0]}'?" if found else ""
    from services.cli.terminal import harmless  # noqa: PLC0415 - keeps rb --help quick

    print(harmless(f"rb: there is no command '{given}'.{hint} 'rb --help' lists them all."), file=sys.stderr)
    return WRONG_USE


def overview() -> str:
    """The help of ``rb`` itself; imports nothing."""
    sections = dict.fromkeys(command.section for command in COMMANDS.values())
    parts = ["Usage: rb [OPTIONS] COMMAND ...", "Root cause analysis in, proven remediation out."]
    parts += [
        f"{section}:\n{_listing([n for n, c in COMMANDS.items() if c.section == section])}" for section in sections
    ]
    parts.append("Options for every command:\n" + "\n".join(f"  {name:<20} {text}" for name, text in _GLOBALS))
    parts.append("Exit codes: 0 it held, 1 it did not hold, 2 wrong use or bad configuration.")
    return "\n\n".join(parts)


def _listing(names: Sequence[str]) -> str:
    return "\n".join(f"  {name:<20} {COMMANDS[name].help}" for name in names)


def resolve(name: str) -> Any:
    """The function of a command."""
    module, _, function = COMMANDS[name].target.partition(":")
    return getattr(import_module(module), function)


def _run(name: str, arguments: Sequence[str], line: Line) -> int:
    from services.cli.commands import run_command  # noqa: PLC0415 - keeps rb --help quick
    from services.cli.runtime import GlobalOptions, set_options  # noqa: PLC0415 - as above

    set_options(GlobalOptions(Path(line.config) if line.config else None, line.debug))
    if name in _DRAWN:
        return run_command(name, resolve(name), arguments)  # the stack draws its own display, of its own words
    from services.cli.masked import mask_for  # noqa: PLC0415 - keeps rb --help quick
    from services.cli.terminal import filtered  # noqa: PLC0415 - as above

    with filtered(mask_for(name)):
        return run_command(name, resolve(name), arguments)


def _trace() -> None:
    """Where an error comes from, its causes too, and no secret in it."""
    import traceback  # noqa: PLC0415 - keeps rb --help quick

    from services.cli.terminal import harmless  # noqa: PLC0415 - as above
    from services.masking import masker  # noqa: PLC0415 - as above

    print(harmless(masker.text(traceback.format_exc())), file=sys.stderr)


def _complain(error: Exception) -> int:
    """One clear paragraph instead of a trace."""
    from services.cli.commands import complaint  # noqa: PLC0415 - keeps rb --help quick
    from services.cli.terminal import harmless  # noqa: PLC0415 - as above

    text, code = complaint(error)
    print(harmless(text), file=sys.stderr)
    return code
