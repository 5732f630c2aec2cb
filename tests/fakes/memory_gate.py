"""The gate in memory is part of the product; tests know it under this name, with its permit ledger."""

from __future__ import annotations

from safety.memory_gate import HandClock, MemoryGate, Reservation, State, Target
from safety.memory_ledger import MemoryPermitLedger, Permitted

__all__ = ["HandClock", "MemoryGate", "MemoryPermitLedger", "Permitted", "Reservation", "State", "Target"]
