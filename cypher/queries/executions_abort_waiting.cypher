// Ends an execution that waits for an approval, because its answer cannot be carried out.
// Parameters: $id, $why. Returns: id, tenant, incident_id of the execution, when it was ended.
// Audit: execution.ended.
MATCH (e:RunbookExecution {id: $id})
SET e.written_at = datetime.realtime()
WITH e WHERE e.status = 'waiting_approval'
SET e.status = 'done', e.outcome = 'aborted', e.error = $why, e.finished_at = datetime.realtime()
RETURN e.id AS id, e.tenant AS tenant, coalesce(e.incident_id, '') AS incident_id
