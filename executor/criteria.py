"""Looking at what must be true: an expression, what a read gives, a metric, the time.

What cannot be read does not hold.
"""

from __future__ import annotations

import asyncio
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from executor.actions.base import Action, ActionTable, Stamp, TargetFacts, World
from executor.actions.promql import escaped, named_query, samples_now, value_now
from executor.errors import PlanError, StepFailed
from executor.model import Access, PlannedCheck, PlannedStep
from executor.rendering import checked, condition, names_of_params, rendered, shown
from executor.windows import in_any, opens
from runbooks.filters import FUNCTIONS
from runbooks.findings import did_you_mean
from runbooks.names import uses
from runbooks.sandbox import TemplateError, has_template
from runbooks.templates import render, single_expression

_METRICS_SECONDS = 10.0
_COMPARES: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_TOKEN = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|[()\[\]{}]|>=|<=|==|!=|=~|!~|>|<""")


class Checker:
    """Looks at checks.

    Args:
        actions: by name and alias; a check may use those that only read.
        world: what they read through.
    """

    def __init__(self, actions: ActionTable, world: World) -> None:
        self._actions = actions
        self._world = world

    def refuse_unsuitable(self, check: PlannedCheck, what: str) -> None:
        """Say before anything runs that a check can never be looked at.

        Raises:
            PlanError: there is no such action, it does not only read, or a template is wrong.
        """
        where = f"{what} {check.name!r}"
        try:
            names_of_params(check.params)
            if check.action:
                self._reading(check)
        except PlanError as error:
            raise PlanError(f"{where}: {error}") from error
        if not (check.action or check.windows or check.check is not None) and what != "assumption":
            raise PlanError(f"{where} has nothing to look at: give check, action or windows")

    async def look(self, check: PlannedCheck, names: Mapping[str, Any], facts: TargetFacts) -> PlannedCheck:
        """The check with what was found. Nothing is raised: what cannot be read does not hold."""
        try:
            async with asyncio.timeout(check.timeout_seconds):
                holds, detail = await self._look(check, names, facts)
        except TimeoutError:
            holds, detail = None, f"no answer within {check.timeout_seconds:g} s"
        except StepFailed as error:
            holds, detail = False if check.action and check.check is None else None, str(error)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being read, it does not hold
            holds, detail = None, str(error) or type(error).__name__
        return check.model_copy(update={"holds": holds, "detail": detail})

    async def _look(self, check: PlannedCheck, names: Mapping[str, Any], facts: TargetFacts) -> tuple[bool, str]:
        told: list[str] = []
        if check.windows:
            now = self._world.clock.now()
            if not in_any(check.windows, now):
                following = opens(check.windows, now)
                when = f"the next opens {following:%a %d %b %H:%M} UTC" if following else "none will be"
                return False, f"no window is open, {when}"
            told.append("a window is open")
        if check.action:
            names = {**names, "output": await self._read(check, names, facts)}
            told.append(f"{check.action} answered")
        if check.check is not None:
            if not await self.expression(check.check, names, facts):
                return False, f"{_spelt(check.check)} does not hold{_because(check, names)}"
            told.append(f"{_spelt(check.check)} holds")
        return bool(told), "; ".join(told) or "there is nothing to look at"

    async def expression(self, text: bool | str, names: Mapping[str, Any], facts: TargetFacts) -> bool:
        """The value of a condition; each ``metrics.NAME`` in it is asked for now.

        Raises:
            RemediationError: a name is unknown, a metric has no value, or it gives neither true nor false.
        """
        wanted = _metrics_of(text)
        if not wanted:
            return condition(text, names)
        values = await asyncio.gather(*(self._metric(name, facts) for name in wanted))
        return condition(text, {**names, "metrics": dict(zip(wanted, values, strict=True))})

    async def _metric(self, name: str, facts: TargetFacts) -> float:
        return await value_now(named_query(name, facts, self._world), self._world, _METRICS_SECONDS)

    async def watched(self, text: str, names: Mapping[str, Any], facts: TargetFacts) -> bool:
        """The value of a trigger's condition: an expression, or a PromQL comparison, which any of its series may meet.

        Raises:
            RemediationError: it cannot be read.
        """
        if is_expression(text, names):
            return await self.expression(text, names, facts)
        query = str(render(text, _escaped(names))) if has_template(text) else text
        left, compare, right = split_comparison(query)
        limit = await self._limit(right)
        samples = await samples_now(left, self._world, _METRICS_SECONDS, several=True)
        return any(_COMPARES[compare](sample.value, limit) for sample in samples)

    async def _limit(self, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return await value_now(text, self._world, _METRICS_SECONDS)

    def _reading(self, check: PlannedCheck) -> Action[Any]:
        action = self._actions.get(check.action)
        if action is None:
            raise PlanError(f"there is no action {check.action!r}; {did_you_mean(check.action, self._actions)}")
        if action.access_of(check.params) not in (Access.READ, Access.NONE):
            raise PlanError(f"{check.action} does not only read, and a check may change nothing")
        return action

    async def _read(self, check: PlannedCheck, names: Mapping[str, Any], facts: TargetFacts) -> Any:
        action = self._reading(check)
        params = checked(action, rendered(check.params, names, action.quoting))
        given = await action.plan(params, facts, self._world)
        if given.result is not None:
            return given.result
        step = PlannedStep(
            index=0,
            id="check",
            name=check.name,
            action=action.name,
            access=action.access_of(check.params),
            idempotent=True,
            timeout_seconds=check.timeout_seconds,
        )
        return await action.perform(shown(step, given), {}, Stamp("", "check", 0), self._world)


def is_expression(text: str, names: Mapping[str, Any]) -> bool:
    """Whether a text is an expression over names that are known; else it is taken as PromQL."""
    if has_template(text):
        return single_expression(text) is not None
    try:
        found = uses(text, expression=True)
    except TemplateError:
        return False
    known = {*names, *FUNCTIONS, "metrics", "secrets"}
    return all(use.path[0] in known for use in found)


def split_comparison(query: str) -> tuple[str, str, str]:
    """Left side, operator and right side of a PromQL comparison.

    PromQL answers a comparison that does not hold with nothing at all, which looks like a metric that is silent. So
    the left side is asked for, and compared here.

    Raises:
        PlanError: there is not exactly one comparison outside of all brackets.
    """
    depth, found = 0, []
    for token in _TOKEN.finditer(query):
        text = token.group()
        if text in "([{":
            depth += 1
        elif text in ")]}":
            depth -= 1
        elif depth == 0 and text in _COMPARES:
            found.append(token)
    if len(found) != 1:
        raise PlanError(f"{query!r:.200} is neither an expression over known names nor one PromQL comparison")
    left, right = query[: found[0].start()].strip(), query[found[0].end() :].strip().removeprefix("bool ").strip()
    if not left or not right:
        raise PlanError(f"{query!r:.200} compares with nothing")
    return left, found[0].group(), right


def _metrics_of(text: bool | str) -> tuple[str, ...]:
    if isinstance(text, bool):
        return ()
    try:
        found = uses(text, expression=True)
    except TemplateError as error:
        raise PlanError(f"the condition {text!r} cannot be read: {error}") from error
    bare = [use for use in found if use.path == ("metrics",)]
    if bare:
        raise PlanError(f"the condition {text!r} names no metric: write metrics.NAME")
    return tuple(dict.fromkeys(use.path[1] for use in found if use.path[0] == "metrics"))


def _escaped(value: Any) -> Any:
    """Data whose texts may stand between the quotes of a label matcher."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, Mapping):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list | tuple) else value


def _spelt(check: bool | str) -> str:
    return str(check).lower() if isinstance(check, bool) else f"{check:.200}"


def _because(check: PlannedCheck, names: Mapping[str, Any]) -> str:
    return f": output is {names['output']!r:.200}" if check.action else ""
