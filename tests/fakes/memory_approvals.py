"""The approval store in memory, which is part of the product."""

from safety.memory_approvals import MemoryApprovalStore

__all__ = ["MemoryApprovalStore"]
