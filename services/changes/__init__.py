"""Files that came into force: what changed, who changed it, and the entry in the audit trail that tells of it."""
