"""The gate: the only place that makes a Permit."""
