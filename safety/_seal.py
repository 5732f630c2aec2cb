"""The gate's seal: a Permit without it cannot be made. Only modules of this package import it."""

from __future__ import annotations


class Seal:
    """Proof that the gate made the object. There is one."""

    __slots__ = ()


SEAL = Seal()
