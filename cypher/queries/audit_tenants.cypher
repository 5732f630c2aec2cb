// The next tenant that has entries, by the index alone.
// Parameters: $after (a tenant; empty for the first). Returns: tenant; no row after the last.
MATCH (a:AuditEntry) WHERE a.tenant > $after AND a.at IS NOT NULL
RETURN a.tenant AS tenant ORDER BY a.tenant LIMIT 1
