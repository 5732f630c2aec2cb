// Writes the answer to a question. Approved, it is tied to its execution; denied or expired, the execution that waits
// for it ends.
// Parameters: $id, $facts (properties), $ended (why the execution ends, or NULL). Returns: execution_id, ended (whether
//   the execution was ended); no row without an execution.
// Audit: override.used, approval.answered, approval.expired, approval.overtaken, execution.ended.
MATCH (a:Approval {id: $id})
SET a += $facts
SET a.to_follow = CASE WHEN a.status IN ['approved', 'denied', 'expired'] THEN true END
WITH a
MATCH (e:RunbookExecution {id: a.execution_id})
WITH a, e, $ended IS NOT NULL AND e.status = 'waiting_approval' AS ends
FOREACH (_ IN CASE WHEN a.status = 'approved' THEN [1] ELSE [] END | MERGE (e)-[:APPROVED_BY]->(a))
FOREACH (_ IN CASE WHEN ends THEN [1] ELSE [] END |
  SET e.status = 'done', e.outcome = 'aborted', e.error = $ended, e.finished_at = datetime.realtime()
)
RETURN e.id AS execution_id, ends AS ended
