"""Settings of what runs inside the cluster's own containers."""

from __future__ import annotations

import shlex
from typing import Self

from pydantic import Field, field_validator, model_validator

from executor.exec_rules import REST
from services.settings_base import Group, Texts


class ExecActions(Group):
    """Programs that runbooks may run in containers."""

    enabled: bool = Field(False, description="Allow `kubectl_exec` at all; each run asks a human in any case")
    allow: Texts = Field(
        (),
        description="Whole commands, word by word: `nginx -s reload`, `jcmd 1 *`; `*` is within one argument, "
        "`**` as the last word is any further arguments",
    )

    @field_validator("allow")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            try:
                words = shlex.split(pattern)
            except ValueError as error:
                raise ValueError(f"{pattern!r} cannot be taken apart into words: {error}") from error
            if not words or words[0].strip("*?") == "":
                raise ValueError(f"{pattern!r} names no program")
            if REST in words[:-1]:
                raise ValueError(f"{pattern!r}: {REST} can only be the last word")
        return value

    @model_validator(mode="after")
    def _enabled_means_something(self) -> Self:
        if self.enabled and not self.allow:
            raise ValueError("enabled without allow lets nothing run: name the commands in allow")
        return self
