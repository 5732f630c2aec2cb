// How many entries there are.
// Parameters: none. Returns: entries.
MATCH (a:AuditEntry)
RETURN count(a) AS entries
