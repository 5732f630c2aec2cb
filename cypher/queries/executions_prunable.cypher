// Ended executions that are old enough to be taken away, oldest first. What is open never is.
// Parameters: $until (the time before which they ended), $tenant (empty for all), $limit.
// Returns: id, tenant, outcome, plan_hash, incident_id.
MATCH (e:RunbookExecution)
WHERE e.requested_at < $until AND e.status = 'done' AND e.finished_at < $until AND $tenant IN ['', e.tenant]
  AND NOT EXISTS { MATCH (a:Approval {execution_id: e.id}) WHERE a.status = 'pending' OR a.to_follow = true }
  AND NOT EXISTS { MATCH (c:TargetClaim {key: e.claim_key}) WHERE c.execution_id = e.id }
RETURN e.id AS id, e.tenant AS tenant, coalesce(e.outcome, '') AS outcome, coalesce(e.plan_hash, '') AS plan_hash,
       coalesce(e.incident_id, '') AS incident_id
ORDER BY e.requested_at, e.id LIMIT $limit
