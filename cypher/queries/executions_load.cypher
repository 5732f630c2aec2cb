// Executions with their steps, claim and approvals.
// Parameters: $ids. Returns: e (all properties), steps [properties], claim (properties or NULL), approvals [properties].
UNWIND $ids AS id
MATCH (e:RunbookExecution {id: id})
OPTIONAL MATCH (c:TargetClaim {key: e.claim_key}) WHERE c.execution_id = e.id
CALL (e) {
  OPTIONAL MATCH (e)-[:STEP]->(s:StepRun)
  WITH s ORDER BY s.started_at, s.id
  RETURN collect(properties(s)) AS steps
}
CALL (e) {
  OPTIONAL MATCH (a:Approval {execution_id: e.id})
  WITH a ORDER BY a.requested_at
  RETURN collect(properties(a)) AS approvals
}
RETURN properties(e) AS e, steps, properties(c) AS claim, approvals
