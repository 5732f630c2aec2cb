"""What can go wrong at the gate.

GateError
└── GateUnavailable      the store cannot be read or written
"""

from __future__ import annotations


class GateError(Exception):
    """Something went wrong at the gate."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").strip()


class GateUnavailable(GateError):
    """The gate's store cannot be read or written."""
