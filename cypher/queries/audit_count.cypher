// How many entries there are.
// Parameters: $tenant (empty for all). Returns: entries.
MATCH (a:AuditEntry) WHERE $tenant = '' OR a.tenant = $tenant
RETURN count(a) AS entries
