// Questions on a surface of which there may be something to tell, with what is known of their executions; oldest first.
// Parameters: $surface, $cluster, $limit. Returns: p, a (properties), status, outcome, steps, finished (of the execution).
MATCH (p:ApprovalPlace {open: true})
WHERE p.surface = $surface AND p.cluster = $cluster AND p.message IS NOT NULL
MATCH (a:Approval {id: p.approval_id})
WITH p, a ORDER BY p.asked_at, p.key LIMIT $limit
OPTIONAL MATCH (e:RunbookExecution {id: a.execution_id})
CALL (e) {
  OPTIONAL MATCH (e)-[:STEP]->(s:StepRun)
  RETURN count(s) AS steps, count(s.finished_at) AS finished
}
RETURN properties(p) AS p, properties(a) AS a, e.status AS status, e.outcome AS outcome, steps, finished
ORDER BY p.asked_at, p.key
