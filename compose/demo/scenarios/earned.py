"""A promotion that is earned: a runbook that people had to approve may run by itself after a verified fix."""

import json

from compose.demo.board import DONE, Cell
from compose.demo.scene import Scene, hold

PROMOTED = ("approve", "auto", "rootmend")


async def earned(scene: Scene, key: str, runbook: str) -> None:
    """Wait until the runbook was promoted, and show on what evidence; its first rung is in the settings of the demo."""

    async def look() -> tuple[dict[str, str] | None, object]:
        code, said = await scene.pipeline.rb("autonomy", "history", runbook, "--json")
        moves = json.loads(said) if code == 0 else []
        found = [move for move in moves if (move["before"], move["after"], move["by"]) == PROMOTED]
        return (found[-1] if found else None), said

    move = await scene.until(f"{runbook} to earn auto", look, seconds=60)
    hold("verified" in move["evidence"], f"the promotion names no evidence: {move}")
    scene.board.put(key, {"record": Cell(DONE, f"success; earned auto ({move['evidence']})")})
