"""Python's garbage collector in a process that decides all night long."""

from __future__ import annotations

import gc

_THRESHOLDS = (1_000, 5, 100)
"""Many short looks instead of few long ones: 20,000 young objects at once took 3 ms, 1,000 a tenth of one."""


def settle() -> None:
    """Call it once, when everything is assembled: what was loaded until now is never looked through again.

    Half a million objects of modules and settings live as long as the process. Looking through them took 60 ms each
    time, in which no gate answers (docs/performance.md). What is made later is collected as ever.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
