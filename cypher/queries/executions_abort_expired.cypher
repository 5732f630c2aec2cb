// Ends permitted executions whose permit ran out by this server's clock.
// Parameters: $ids. Returns: id, tenant, incident_id of those that were ended.
// Audit: execution.ended.
UNWIND $ids AS id
MATCH (e:RunbookExecution {id: id})
SET e.written_at = datetime.realtime() // takes the node's lock, so that what follows reads the last committed values
WITH e
WHERE e.status = 'permitted' AND e.permit_expires_ms <= datetime.realtime().epochMillis
SET e.status = 'done', e.outcome = 'aborted', e.error = 'the permit ran out before a worker claimed it',
    e.finished_at = datetime.realtime()
RETURN e.id AS id, e.tenant AS tenant, coalesce(e.incident_id, '') AS incident_id
