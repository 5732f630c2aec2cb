"""The graph as the durable truth: decisions, permits, journal, approvals, and what it knows of causes."""
