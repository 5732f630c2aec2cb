"""How a new version of a runbook takes over from the one before."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from runbooks.words import Model


class Canary(Model):
    """A part of the incidents for the new version."""

    percent: float = Field(
        10, gt=0, lt=100, strict=True, description="Of incidents that the new version takes, until it is proven"
    )


class Rollout(Model):
    """A new version on trial: it takes over by itself once it is proven, and is out at once when it fails."""

    canary: Canary | None = Field(None, description="It takes a part of the incidents, the version before it the rest")
    mode: Literal["canary", "suggest"] | None = Field(
        None, description="suggest: a human says yes to each execution; canary is what the key canary says alone"
    )
    min_successes: int = Field(
        5, ge=1, strict=True, description="So many verified executions, at no worse a rate than before, prove it"
    )
    max_failures: int = Field(
        1, ge=1, strict=True, description="So many executions that failed or did not fix anything end the trial"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.canary is None) != (self.mode == "suggest"):
            raise ValueError("say either canary: {percent: 10} or mode: suggest")
        return self
