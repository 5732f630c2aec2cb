// Ties executions to the symptom they remedy and the cause they answer, where KGroot's graph has them.
// Parameters: $rows [{id, symptom_id, cause_id, tenant, untagged}]. Returns: nothing.
// Audit: nothing; the execution is told, this ties it to KGroot's events.
UNWIND $rows AS row
MATCH (e:RunbookExecution {id: row.id})
OPTIONAL MATCH (symptom:Episodic {eid: row.symptom_id})
WHERE symptom.client_id = row.tenant OR (symptom.client_id IS NULL AND row.untagged)
OPTIONAL MATCH (cause:Episodic {eid: row.cause_id})
WHERE cause.client_id = row.tenant OR (cause.client_id IS NULL AND row.untagged)
FOREACH (x IN CASE WHEN symptom IS NULL THEN [] ELSE [symptom] END | MERGE (e)-[:REMEDIATES]->(x))
FOREACH (x IN CASE WHEN cause IS NULL THEN [] ELSE [cause] END | MERGE (e)-[:CAUSED_BY]->(x))
