"""Somebody who can write to the graph changes who said yes; `rb audit verify` names the entry. Then it is put back."""

import json
import time

from compose.demo.errors import DemoFailed
from compose.demo.scenarios import Result
from compose.demo.scene import Scene, hold

KEY = "tampering"
TITLE = "A change of the record, found"
_SOMEBODY = "somebody-else"


async def tamper(scene: Scene) -> Result:
    """Change one property of the audit trail and look for it. Never raises: what went wrong is in the result."""
    began = time.monotonic()
    found, problem, log = "", "", tuple[str, ...]()
    try:
        found = await _play(scene)
    except DemoFailed as error:
        problem, log = error.what, error.log
    except Exception as error:  # noqa: BLE001 - the other scenarios are shown all the same
        problem = f"{type(error).__name__}: {error}"
    return Result(KEY, TITLE, problem, log, decision=found, steps="none", seconds=time.monotonic() - began)


async def _play(scene: Scene) -> str:
    tenant = scene.run.tenant
    code, report = await _verify(scene)
    hold(code == 0, f"the trail does not hold before anybody touched it: {report}")
    rows = await scene.graph.run("tampering_target", tenant=tenant)
    hold(rows, "nothing was told in the audit trail")
    entry, actor = rows[0]["entry"], rows[0]["actor"]
    await scene.graph.run("tampering_write", tenant=tenant, entry=entry, actor=_SOMEBODY)
    try:
        code, report = await _verify(scene)
    finally:
        await scene.graph.run("tampering_write", tenant=tenant, entry=entry, actor=actor)
    named = [one for one in report["problems"] if one["entry"] == entry]
    hold(code == 1 and named, f"{entry} was changed, and rb audit verify ended with {code}: {report['problems']}")
    code, report = await _verify(scene)
    hold(code == 0, f"put back, the trail does not hold: {report}")
    return f"{rows[0]['kind']} by '{actor}' became '{_SOMEBODY}'; rb audit verify: {named[0]['what']} {entry}"


async def _verify(scene: Scene) -> tuple[int, dict[str, list[dict[str, str]]]]:
    code, said = await scene.pipeline.rb("audit", "verify", "--tenant", scene.run.tenant, "--json")
    start = said.find("{")
    hold(start >= 0, f"rb audit verify ended with {code}: {said.strip()[:400]}")
    return code, json.loads(said[start:])
