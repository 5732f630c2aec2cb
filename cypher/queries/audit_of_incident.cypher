// Entries of one incident, oldest first.
// Parameters: $incident_id, $limit. Returns: a (all properties).
MATCH (a:AuditEntry {incident_id: $incident_id})
RETURN properties(a) AS a ORDER BY a.at, a.segment, a.seq LIMIT $limit
