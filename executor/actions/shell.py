"""Run programs on the machine of the pipeline: off until the settings switch it on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from executor.actions.base import Action, Found, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.beside import LITERAL, text_or_file
from executor.actions.checking import holds
from executor.actions.manifests import Seconds
from executor.actions.masking import reveal
from executor.actions.needs import NO_RIGHTS
from executor.actions.synonyms import Synonyms
from executor.actions.waiting import limit_of
from executor.data_ports import Command, CommandResult
from executor.errors import PlanError, StepFailed
from executor.model import Access, Change, PlannedStep
from runbooks.secret_refs import references_in

_MAX_SCRIPT = 128 * 1024
_MAX_ARGUMENTS = 200
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STEERING = re.compile(
    r"LD_.*|DYLD_.*|PATH|IFS|ENV|BASH_ENV|SHELLOPTS|PYTHON.*|PERL5?.*|RUBY.*|NODE_OPTIONS|GCONV_PATH"
)
_SHOWN = 300
_ENDED_WITH = 500


def _argument(value: object) -> object:
    """Numbers are fine as arguments; lists and mappings are a mistake."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _whole(value: str) -> str:
    if "\0" in value:
        raise ValueError("an argument cannot hold a null byte")
    return value


Argument = Annotated[str, BeforeValidator(_argument), AfterValidator(_whole)]


ExitCodes = Annotated[
    tuple[int, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, int | str) else value),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
]


class _Running(Synonyms):
    """What both ways to run a program have in common."""

    env: dict[str, Argument] = Field({}, description="Variables; the only place for secrets. Nothing else is inherited")
    stdin: str = Field("", description="Text that the program reads")
    expected_exit: ExitCodes = Field((0,), description="Exit codes that mean success")
    expect: str | None = Field(None, description="Expression over `exit_code`, `stdout` and `stderr` that must hold")
    timeout: Seconds | None = Field(None, description="Longest run; left out, the step's own")


class CommandParams(_Running):
    """Parameters of ``command``."""

    synonyms: ClassVar[Mapping[str, str]] = {"command": "argv", "args": "argv"}

    argv: list[Argument] = Field(
        min_length=1, max_length=_MAX_ARGUMENTS, description="The program and its arguments, one by one; no shell"
    )


class ScriptParams(_Running):
    """Parameters of ``script``."""

    synonyms: ClassVar[Mapping[str, str]] = {"text": "script", "file": "script"}

    script: str = Field(
        min_length=1,
        description="The text, or the name of a file beside the runbook; values come in as args or env",
        json_schema_extra=LITERAL,
    )
    interpreter: str = Field(description="A program that the settings allow, such as `bash` or `python3`")
    interpreter_args: list[Argument] = Field([], max_length=20, description="Before the script, such as `-eu`")
    args: list[Argument] = Field([], max_length=_MAX_ARGUMENTS, description="Arguments of the script, one by one")


class _Program(Action[Any]):
    """What both ways to run a program have in common."""

    access = Access.WRITE
    idempotent = False
    simulated = "the command is shown and not run; it must be allowed by the settings"
    undone = "not at all: a human is asked before"
    targets = "the incident's target"

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """Nobody can tell what an interrupted program did; it runs again only when its author says that it may."""
        return Recovery(Found.NOT_DONE if step.idempotent else Found.UNKNOWN)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Nothing can be taken back."""
        return f"a program cannot be taken back: {step.changes[0].summary}" if step.changes else "nothing to undo"


class RunCommand(_Program):
    """Run a program with its arguments: no shell, an environment of its own, limits on time, memory and output.

    Off until the settings switch it on and list the program. The output is ``exit_code``, ``stdout`` and ``stderr``.
    """

    name = "command"
    aliases = ("shell/command", "shell/run")
    params_model = CommandParams
    rights = NO_RIGHTS
    example = """\
action: command
params:
  argv: [redis-cli, -h, "{{ target.name }}", MEMORY, PURGE]
  env: {REDISCLI_AUTH: "{{ secrets.redis_password }}"}
"""

    async def plan(self, params: CommandParams, facts: TargetFacts, world: World) -> Planned:
        """Check that it may be run, and show it."""
        _no_secrets(params.argv, "the arguments")
        _check(params)
        program = world.shell.check(params.argv[0])
        given = params.model_copy(update={"argv": [program, *params.argv[1:]]})
        return Planned(params=given.model_dump(mode="json", exclude_none=True), changes=(_change(given.argv),))

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Run it.

        Raises:
            StepFailed: it ended in another way than expected, or took too long.
        """
        params = CommandParams.model_validate(step.params)
        return await _run(params, Command(tuple(params.argv)), step, world)


class RunScript(_Program):
    """Run a script with an interpreter that the settings allow; as ``command`` in everything else."""

    name = "script"
    aliases = ("shell/script",)
    params_model = ScriptParams
    rights = NO_RIGHTS
    example = """\
action: script
params:
  interpreter: bash
  interpreter_args: [-eu]
  script: |
    curl --fail --silent "http://$1:8080/admin/flush"
  args: ["{{ target.name }}"]
"""

    async def plan(self, params: ScriptParams, facts: TargetFacts, world: World) -> Planned:
        """Read the script, check that its interpreter may be run, and show it."""
        _no_secrets([params.script, params.interpreter, *params.interpreter_args, *params.args], "a script")
        _check(params)
        text = params.script
        if "\n" not in text.strip() and " " not in text.strip() and PurePosixPath(text.strip()).suffix:
            text = await text_or_file(text, (PurePosixPath(text.strip()).suffix,), facts, world, max_bytes=_MAX_SCRIPT)
        program = world.shell.check(params.interpreter)
        given = params.model_copy(update={"script": text, "interpreter": program})
        shown = [program, *params.interpreter_args, "<script>", *params.args]
        lines = f" ({len(text.splitlines())} lines)"
        return Planned(params=given.model_dump(mode="json", exclude_none=True), changes=(_change(shown, lines),))

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Run it.

        Raises:
            StepFailed: it ended in another way than expected, or took too long.
        """
        params = ScriptParams.model_validate(step.params)
        argv = (params.interpreter, *params.interpreter_args, "./script", *params.args)
        return await _run(params, Command(argv, files={"script": params.script}), step, world)


def _no_secrets(texts: list[str], what: str) -> None:
    if names := references_in(texts):
        raise PlanError(f"{what} can be read by every user of the machine: give {', '.join(sorted(names))} through env")


def _check(params: _Running) -> None:
    for name in params.env:
        if not _VARIABLE.fullmatch(name):
            raise PlanError(f"{name!r} is no name of a variable")
        if _STEERING.fullmatch(name):
            raise PlanError(f"{name} decides what is run, so a step cannot set it")


def _change(argv: list[str], more: str = "") -> Change:
    text = " ".join(part if part and not re.search(r"\s", part) else repr(part) for part in argv)
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return Change(verb="run", summary=f"run {shown}{more}", irreversible=True)


async def _run(params: _Running, command: Command, step: PlannedStep, world: World) -> dict[str, Any]:
    revealed = await reveal({"env": params.env, "stdin": params.stdin}, world.secrets)
    limit = limit_of(params.timeout, step)
    whole = Command(command.argv, env=revealed.value["env"], stdin=revealed.value["stdin"], files=command.files)
    with revealed.hiding():
        ended = await world.shell.run(whole, timeout_seconds=limit)
    output = _shown(ended, revealed.hide)
    program = PurePosixPath(command.argv[0]).name
    if ended.timed_out:
        raise StepFailed(f"{program} was killed after {limit:g} s{_said(output)}")
    if ended.exit_code not in params.expected_exit:
        raise StepFailed(f"{program} {_way(ended.exit_code)}{_said(output)}")
    if params.expect:
        holds(params.expect, output)
    return output


def _shown(ended: CommandResult, hide: Any) -> dict[str, Any]:
    return {
        "exit_code": ended.exit_code,
        "stdout": hide(ended.stdout),
        "stderr": hide(ended.stderr),
        "truncated": ended.truncated,
    }


def _way(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with {code}"


def _said(output: Mapping[str, Any]) -> str:
    text = (output["stderr"] or output["stdout"]).strip()
    return f": {text[-_ENDED_WITH:]}" if text else ""
