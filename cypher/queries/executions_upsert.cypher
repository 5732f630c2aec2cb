// Writes executions of permits and pending approvals with their plan. One that was claimed or ended is left alone.
// Parameters: $rows [{id, decision_id, status, facts (properties), runbook_id, runbook_sha}]. Returns: nothing.
// Audit: execution.requested.
UNWIND $rows AS row
MATCH (d:Decision {id: row.decision_id})
MERGE (e:RunbookExecution {id: row.id})
ON CREATE SET e.status = row.status
SET e.written_at = datetime.realtime() // the lock, as in decisions_upsert
WITH row, d, e
WHERE e.status = 'waiting_approval' OR (e.status = 'permitted' AND row.status = 'permitted')
SET e += row.facts, e.status = row.status
MERGE (d)-[:LED_TO]->(e)
WITH row, e
MATCH (v:RunbookVersion {id: row.runbook_id, sha: row.runbook_sha})
MERGE (e)-[:USED]->(v)
