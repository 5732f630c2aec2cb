"""What a run of crashes showed, as lines while it runs and as JSON at its end."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from tests.chaos.checker import Violation
from tests.chaos.rounds import Round


class Report:
    """Collects rounds, and prints each.

    Args:
        seed: of the random kills.
        command: that runs it again.
    """

    def __init__(self, seed: int, command: str) -> None:
        self.seed = seed
        self.command = command
        self.rounds: list[Round] = []
        self._began = datetime.now(UTC)
        self._start = monotonic()
        _say(f"seed {seed}; again with: {command}")
        _say(f"{'where it died':<24}{'deaths':>7}{'inputs':>8}{'violations':>12}{'seconds':>9}  outcomes")

    def add(self, one: Round, *, dies: bool = False) -> None:
        """Another round.

        Args:
            one: the round.
            dies: whether it must have died; a failpoint that nobody reaches proves nothing.
        """
        if dies and one.name not in one.died:
            one.violations.append(Violation("failpoint", one.name, "nothing reached it"))
        self.rounds.append(one)
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(one.outcomes.items()))
        inputs = sum(one.kinds.values())
        _say(f"{one.name:<24}{one.deaths:>7}{inputs:>8}{len(one.violations):>12}{one.seconds:>9.1f}  {outcomes}")
        for violation in one.violations:
            _say(f"    {violation}")

    @property
    def held(self) -> bool:
        """Whether nothing was wrong, and anything was looked at."""
        return bool(self.rounds) and not any(one.violations for one in self.rounds)

    def end(self) -> None:
        """The last line."""
        told = self.as_json()
        verdict = "held" if self.held else "DID NOT HOLD"
        _say(
            f"{verdict}: {told['deaths']} deaths ({told['random_kills']} of them at random), {told['inputs']} inputs, "
            f"{told['executions']} executions, {told['violations']} violations, {told['seconds']:.0f} s"
        )
        _say(f"seed {self.seed}; again with: {self.command}")

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        chance = [one for one in self.rounds if one.name.startswith("random")]
        return {
            "began": self._began.isoformat(),
            "seconds": monotonic() - self._start,
            "seed": self.seed,
            "command": self.command,
            "held": self.held,
            "deaths": sum(one.deaths for one in self.rounds),
            "random_kills": sum(one.deaths for one in chance),
            "inputs": sum(sum(one.kinds.values()) for one in self.rounds),
            "executions": sum(sum(one.outcomes.values()) for one in self.rounds),
            "violations": sum(len(one.violations) for one in self.rounds),
            "rounds": [
                {
                    "name": one.name,
                    "deaths": one.deaths,
                    "seconds": round(one.seconds, 1),
                    "kinds": dict(one.kinds),
                    "died": one.died,
                    "outcomes": dict(one.outcomes),
                    "violations": [str(violation) for violation in one.violations],
                }
                for one in self.rounds
            ],
        }


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
