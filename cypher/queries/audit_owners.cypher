// Whose executions these are.
// Parameters: $ids. Returns: id, tenant, incident_id.
UNWIND $ids AS id
MATCH (e:RunbookExecution {id: id})
RETURN e.id AS id, e.tenant AS tenant, coalesce(e.incident_id, '') AS incident_id
