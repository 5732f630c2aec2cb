// How many entries a tenant has.
// Parameters: $tenant. Returns: entries.
MATCH (a:AuditEntry {tenant: $tenant}) WHERE a.at IS NOT NULL
RETURN count(a) AS entries
