// Ties executions to the resource they act on, under each of the names that the graph has for it.
// Parameters: $rows [{id, rid, tenant, untagged}]. Returns: nothing.
// Audit: nothing; the execution is told, this ties it to KGroot's resources.
UNWIND $rows AS row
MATCH (r:Resource {rid: row.rid})
WHERE r.client_id = row.tenant OR (r.client_id IS NULL AND row.untagged)
MATCH (e:RunbookExecution {id: row.id})
MERGE (e)-[:TARGETS]->(r)
