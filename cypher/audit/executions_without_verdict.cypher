// Executions that began and have no verdict: still running, ended early, or left behind.
// Parameters: none. Returns: one row for each, oldest first, with how far it came and whether its lease lives.
MATCH (e:RunbookExecution)
WHERE e.status IN ['running', 'verifying', 'rolling_back', 'done'] AND e.requested_at IS NOT NULL
  AND e.verdict IS NULL AND e.started_at IS NOT NULL
OPTIONAL MATCH (c:TargetClaim {key: e.claim_key}) WHERE c.execution_id = e.id
OPTIONAL MATCH (e)-[:STEP]->(s:StepRun)
WITH e, c, s ORDER BY s.started_at
RETURN e.started_at AS started, e.status AS status, e.outcome AS outcome, e.error AS error, e.runbook_id AS runbook,
       e.target_key AS target, e.holder AS holder, c.lease_until_ms > timestamp() AS leased,
       [x IN collect(s) | x.step_id + ': ' + x.status] AS steps, e.id AS execution
ORDER BY started LIMIT 200
