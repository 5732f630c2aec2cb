// Executions that have not ended, with their claim and questions, in the order of their ids.
// Parameters: $cluster (whose targets; empty for any), $after (the last id of the page before; empty for the first), $limit.
// Returns: id, e (the properties that tell its state), claim (properties or NULL), approvals [{id, status, to_follow}],
//   intended (steps whose outcome is not known), done (steps that were done), now_ms (this server's clock).
MATCH (e:RunbookExecution)
WHERE (e.status < 'done' OR e.status > 'done') AND e.requested_at IS NOT NULL AND e.id > $after
  AND ($cluster = '' OR e.target_key STARTS WITH $cluster + '/')
WITH e ORDER BY e.id LIMIT $limit
OPTIONAL MATCH (c:TargetClaim {key: e.claim_key})
CALL (e) {
  OPTIONAL MATCH (e)-[:STEP]->(s:StepRun)
  RETURN count(CASE WHEN s.status = 'intended' THEN 1 END) AS intended, count(CASE WHEN s.status = 'succeeded' THEN 1 END) AS done
}
CALL (e) {
  OPTIONAL MATCH (a:Approval {execution_id: e.id})
  RETURN [one IN collect(a) | one {.id, .status, .to_follow}] AS approvals
}
RETURN e.id AS id,
       e {.id, .status, .tenant, .target_key, .runbook_id, .holder, .token, .permit_expires_ms, .permitted_ms, .format,
          .requested_at, .started_at, .finished_at, .outcome, .claim_key, .plan_hash} AS e,
       properties(c) AS claim, approvals, intended, done, timestamp() AS now_ms
ORDER BY id
