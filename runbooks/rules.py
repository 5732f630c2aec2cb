"""Every rule that a runbook is checked against: its code, what it means, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from runbooks.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule.

    Attributes:
        code: ``RB0xx`` text and YAML, ``RB1xx`` shape, ``RB2xx`` steps and actions, ``RB3xx`` templates,
            ``RB4xx`` safety.
        why: what goes wrong when it is broken.
        advice: what to do when the finding itself says nothing more precise.
    """

    code: str
    severity: Severity
    title: str
    why: str
    advice: str


_LONGEST = 400
_E, _W = Severity.ERROR, Severity.WARNING

_ALL = (
    Rule("RB001", _E, "not UTF-8", "Other encodings are read differently by other tools.", "save the file as UTF-8"),
    Rule("RB002", _E, "file too large", "A runbook is read by people.", "split it into several runbooks"),
    Rule("RB003", _E, "not YAML", "The text cannot be parsed.", "correct the YAML at this place"),
    Rule("RB004", _E, "tab", "YAML forbids tabs in indentation.", "indent with spaces"),
    Rule("RB005", _E, "duplicate key", "Only one of the two would count.", "keep one of them"),
    Rule("RB006", _E, "nested too deeply", "No runbook needs it.", "flatten the structure"),
    Rule("RB007", _E, "aliases expand too far", "Aliases of aliases can fill the memory.", "write the values out"),
    Rule("RB008", _E, "more than one document", "One file is one runbook.", "put each document in a file of its own"),
    Rule("RB009", _E, "empty", "There is nothing to load.", "start with `runbook:`"),
    Rule("RB010", _E, "tag", "Tags make objects that are not plain data.", "remove the tag"),
    Rule("RB011", _E, "key is not text", "YAML 1.1 reads on, off, yes, no as booleans.", "put the key in quotes"),
    Rule(
        "RB012",
        _W,
        "word read as boolean",
        "YAML 1.1 reads on, off, yes, no as booleans.",
        "write true or false, or put the text in quotes",
    ),
    Rule(
        "RB013",
        _W,
        "number in another base",
        "YAML 1.1 reads 0644 as octal and 1:30 as base 60.",
        "write it in base ten, or put the text in quotes",
    ),
    Rule("RB014", _E, "cannot be read", "The file system refused.", "check the path and its permissions"),
    Rule("RB015", _E, "not a number", "Infinity and NaN have no place in JSON.", "write a finite number"),
    Rule("RB016", _E, "control character", "It is invisible and breaks other tools.", "remove the character"),
    Rule(
        "RB101",
        _E,
        "not a runbook",
        "The canonical form has one top-level key.",
        "start with `runbook:` and indent the rest below it",
    ),
    Rule(
        "RB102", _E, "unknown key", "A misspelt safety limit must not be ignored.", "remove it or correct its spelling"
    ),
    Rule("RB103", _E, "missing key", "The runbook cannot be used without it.", "add the key"),
    Rule("RB104", _E, "wrong type", "The value is of another kind than the key needs.", "correct the value"),
    Rule(
        "RB105", _E, "out of bounds", "The value lies outside of what is allowed.", "choose a value within the bounds"
    ),
    Rule("RB106", _E, "not one of the choices", "The key takes one of a few words.", "choose one of them"),
    Rule("RB107", _E, "not in the right form", "The text does not have the form that is needed.", "correct the text"),
    Rule(
        "RB108",
        _E,
        "text expected",
        "YAML reads some bare words as booleans, numbers or null.",
        "put the text in quotes",
    ),
    Rule("RB109", _E, "not a duration", "Lengths of time have units.", "write 30s, 5m or 1h30m"),
    Rule("RB110", _E, "empty value", "The value must say something.", "fill it in, or leave the key out"),
    Rule("RB111", _E, "invalid value", "The value cannot be used.", "correct the value"),
    Rule(
        "RB112",
        _E,
        "nothing starts it",
        "A runbook that no cause, alert, schedule or person can start is never run.",
        "give trigger.root_cause_reason, trigger.alert or trigger.schedule, or say trigger.manual: true",
    ),
    Rule(
        "RB120",
        _E,
        "default of another type",
        "The parameter could never be used with its default.",
        "make the default fit the type",
    ),
    Rule(
        "RB121",
        _E,
        "pattern is not a regular expression",
        "The parameter could never be checked.",
        "correct the expression",
    ),
    Rule("RB122", _E, "parameter declared twice", "Only one of the two would count.", "keep one of them"),
    Rule("RB201", _E, "unknown action", "Nothing would run this step.", "see `rb actions`"),
    Rule(
        "RB202",
        _E,
        "unknown parameter of the action",
        "The action would ignore it.",
        "remove it or correct its spelling",
    ),
    Rule("RB203", _E, "missing parameter of the action", "The action cannot run without it.", "add it under params"),
    Rule("RB204", _E, "parameter of the wrong kind", "The action cannot use this value.", "correct the value"),
    Rule("RB205", _E, "step id used twice", "References to it would be ambiguous.", "give each step an id of its own"),
    Rule(
        "RB206",
        _E,
        "reference to a step that has not run",
        "A step knows only the steps before it.",
        "move the step up, or refer to an earlier one",
    ),
    Rule(
        "RB207",
        _E,
        "step id is not a name",
        "It could not be written after `steps.`.",
        "use letters, digits and _, starting with a letter",
    ),
    Rule("RB208", _W, "output variable set twice", "Later steps see the second value only.", "choose another name"),
    Rule(
        "RB209",
        _W,
        "output variable never used",
        "The step may be superfluous, or its user misspelt.",
        "use it or remove output_var",
    ),
    Rule(
        "RB210", _W, "parameter never used", "Whoever sets it would be surprised.", "use it as params.NAME or remove it"
    ),
    Rule("RB211", _E, "name is reserved", "It would hide a name that templates use.", "choose another name"),
    Rule(
        "RB212",
        _E,
        "template in a text that is a program",
        "Whoever writes an alert could write a part of the program.",
        "pass the value as a parameter, argument or variable",
    ),
    Rule(
        "RB213",
        _E,
        "steps wait for each other",
        "None of them could ever start.",
        "take one of them out of depends_on",
    ),
    Rule("RB214", _W, "step that never runs", "Its author thinks it does.", "remove it, or correct its `when`"),
    Rule("RB215", _E, "unknown procedure", "Nothing would run when it is needed.", "name one under procedures"),
    Rule("RB216", _E, "rule about an unknown step", "The rule would never apply.", "name the id of one of the steps"),
    Rule(
        "RB217",
        _W,
        "procedure that nothing runs",
        "Its author believes that it is the way back.",
        "name it in on_failure or in a rollback trigger, or remove it",
    ),
    Rule("RB218", _E, "unknown dependency", "The step could never start.", "name the id of one of the steps"),
    Rule("RB219", _E, "call of an unknown runbook", "The step could never be planned.", "name the id of a runbook"),
    Rule("RB220", _E, "time that cannot be read", "The schedule would never start anything.", "write five cron fields"),
    Rule("RB221", _E, "unknown time zone", "Nobody knows when it is meant.", "use an IANA name such as Europe/Vienna"),
    Rule("RB222", _E, "window that never opens", "Nothing could ever run in it.", "correct its times or its days"),
    Rule("RB223", _E, "runbooks that call each other", "They would never come to an end.", "take out one of the calls"),
    Rule("RB225", _E, "check of nothing", "What is not looked at cannot hold.", "give a check, an action or windows"),
    Rule("RB226", _E, "check that changes something", "Checks are made before anybody says yes.", "only read in it"),
    Rule("RB227", _E, "trigger without one reason", "It is not clear when it takes back.", "give exactly one reason"),
    Rule(
        "RB228",
        _E,
        "condition that cannot be watched",
        "The rollback would never be triggered.",
        "compare a metric or a known name: metrics.errorRate > 0.05",
    ),
    Rule("RB230", _W, "mapping to an unknown runbook", "The alert starts nothing.", "name the id of a runbook"),
    Rule("RB231", _W, "mapping that is never reached", "An earlier one takes every such alert.", "remove one of them"),
    Rule(
        "RB232", _W, "mapping of an unknown parameter", "The runbook does not look at it.", "correct or remove the name"
    ),
    Rule("RB233", _W, "mapping without a required parameter", "Nothing could be planned.", "give it a value"),
    Rule("RB301", _E, "template syntax", "The text cannot be rendered.", "correct the template"),
    Rule("RB302", _E, "unknown name in a template", "It would stop the runbook before any change.", "correct the name"),
    Rule(
        "RB303",
        _W,
        "name that nothing declares",
        "It becomes an implicit parameter that somebody has to supply.",
        "declare it under parameters, or set it with output_var",
    ),
    Rule(
        "RB304",
        _E,
        "unknown filter or function",
        "The text cannot be rendered.",
        "see the list of filters in docs/runbooks.md",
    ),
    Rule(
        "RB305",
        _E,
        "template statement not allowed",
        "Templates only read values.",
        "use {{ }}, {% if %} and {% for %} only",
    ),
    Rule(
        "RB306",
        _E,
        "variable used before it is set",
        "A step knows only what the steps before it gave.",
        "move the step that sets it up",
    ),
    Rule(
        "RB307",
        _E,
        "name known in notifications only",
        "There is no error yet while steps run.",
        "use it under notification",
    ),
    Rule(
        "RB308",
        _E,
        "secret kept in a variable",
        "Variables are written to the record of the execution.",
        "use {{ secrets.NAME }} where the value is needed",
    ),
    Rule(
        "RB309",
        _W,
        "text from outside inside YAML",
        "A quote or line break in it changes the document.",
        "pass it through the json filter, without quotes around it",
    ),
    Rule(
        "RB401",
        _W,
        "waits for a pod that the change replaces",
        "The pod is gone after the change: the wait follows its owner workload instead.",
        "wait for `rollout complete`",
    ),
    Rule(
        "RB402",
        _W,
        "growth without a ceiling",
        "Each run makes it larger, for ever.",
        "use the filter grow(factor, ceiling) or at_most(ceiling)",
    ),
    Rule(
        "RB403",
        _W,
        "write without a target",
        "Only the incident's workload, pod or node may be left out.",
        "name the object: resource: KIND/NAME",
    ),
    Rule("RB404", _E, "write without time", "A step that may never end holds its target.", "give a timeout above zero"),
    Rule(
        "RB405",
        _W,
        "effect that cannot be undone",
        "Nothing takes it back when the fix does not work.",
        "add a rollback, or ask for approval",
    ),
    Rule("RB406", _E, "secret in clear text", "Everybody who reads the file knows it.", "use {{ secrets.NAME }}"),
    Rule(
        "RB407",
        _W,
        "irreversible without approval",
        "What cannot be undone needs a human.",
        "set safety.require_approval to true",
    ),
    Rule(
        "RB408",
        _W,
        "acts alone on a guess",
        "Below one half the cause is probably another one.",
        "raise min_confidence, or set require_approval",
    ),
    Rule("RB410", _W, "answers every cause", "It would win wherever no other runbook applies.", "name the causes"),
    Rule("RB411", _W, "never runs by itself", "A limit of zero refuses every execution.", "raise the limit"),
    Rule(
        "RB412",
        _W,
        "rollback that rolls back",
        "A failed rollback step cannot start the rollback again.",
        "use abort or continue",
    ),
    Rule("RB414", _E, "runbook id used twice", "Only one of the two can answer.", "give each runbook an id of its own"),
    Rule(
        "RB415",
        _E,
        "settles longer than it verifies",
        "It could never be verified.",
        "make settle shorter than timeout",
    ),
    Rule("RB416", _W, "verified without waiting", "One healthy moment is not a fix.", "give settle a few seconds"),
    Rule(
        "RB418",
        _W,
        "writes without a dry run",
        "The API server's objections come in the middle.",
        "leave dry_run_first on",
    ),
    Rule(
        "RB417",
        _W,
        "retry of what may have happened",
        "It cannot be asked whether it did, so it may happen twice.",
        "retry on temporary errors only, or declare it idempotent",
    ),
    Rule(
        "RB419",
        _W,
        "longer than the time around it",
        "It is cut off before its own time is up.",
        "make the inner time shorter, or the outer one longer",
    ),
    Rule("RB420", _E, "namespace both in and out", "The runbook could never apply there.", "keep it in one of the two"),
    Rule("RB421", _E, "query that writes", "check_neo4j only reads.", "remove the writing clause"),
    Rule("RB422", _W, "wait without a time of its own", "It waits as long as every step may.", "give it a timeout"),
    Rule("RB424", _W, "rates that contradict each other", "The longer window decides alone.", "lower the shorter one"),
    Rule(
        "RB425",
        _W,
        "approval rule that cannot work as written",
        "Somebody is asked too late, or counted twice.",
        "escalate before the timeout, and name everybody once",
    ),
    Rule(
        "RB426",
        _W,
        "bypass without justification",
        "Nobody can tell afterwards why it was used.",
        "set requires_justification to true",
    ),
    Rule(
        "RB429", _W, "pauses that cannot grow", "Every pause is cut to max_backoff.", "make max_backoff the longer one"
    ),
)

RULES = {rule.code: rule for rule in _ALL}


def finding(
    code: str, message: str, position: tuple[int, int] = (1, 1), *, advice: str = "", severity: Severity | None = None
) -> Finding:
    """A finding of this rule at this line and column.

    Args:
        code: of the rule.
        message: what is wrong here; starts with the thing itself.
        position: line and column, from 1.
        advice: more precise than the rule's own, where there is something more precise.
        severity: other than the rule's own.
    """
    rule = RULES[code]
    return Finding(code, severity or rule.severity, message[:_LONGEST], advice or rule.advice, None, *position)
