"""The audit trail: kept in the graph beside what it tells, sealed outside it, checked, exported and pruned."""
