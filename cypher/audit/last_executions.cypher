// The last executions: what was done to what, how it ended, and what the world said.
// Parameters: change the number in the first line. Returns: one row for each execution, newest first.
WITH 50 AS most
MATCH (e:RunbookExecution)
WHERE e.requested_at IS NOT NULL
WITH e, most ORDER BY e.requested_at DESC LIMIT 100
WITH most, collect(e) AS newest
UNWIND newest[..most] AS e
RETURN e.requested_at AS requested, e.runbook_id AS runbook, e.runbook_version AS version, e.target_key AS target,
       e.status AS status, e.outcome AS outcome, e.verdict AS verdict, e.error AS error,
       duration.between(e.started_at, e.finished_at) AS took, e.id AS execution
ORDER BY requested DESC
