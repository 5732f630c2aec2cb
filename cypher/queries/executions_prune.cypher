// Takes ended executions away, with their steps, answered questions and what was sent about these, and with the decisions
// that nothing else hangs on. One that was opened again meanwhile stays.
// Parameters: $ids. Returns: id (of those that went).
// Audit: executions.pruned.
UNWIND $ids AS id
MATCH (e:RunbookExecution {id: id})
SET e.written_at = datetime.realtime() // takes the node's lock, so that what follows reads the last committed values
WITH e, id WHERE e.status = 'done'
OPTIONAL MATCH (d:Decision)-[:LED_TO]->(e) WHERE NOT EXISTS { MATCH (d)-[:LED_TO]->(o) WHERE o <> e } AND d.kind <> 'waiting'
WITH e, id, collect(d) AS decisions
CALL (e) { MATCH (e)-[:STEP]->(s:StepRun) DETACH DELETE s }
CALL (e) {
  MATCH (a:Approval {execution_id: e.id})
  OPTIONAL MATCH (n:ApprovalNotice {approval_id: a.id})
  DETACH DELETE n
  WITH DISTINCT a
  DETACH DELETE a
}
FOREACH (d IN decisions | DETACH DELETE d)
DETACH DELETE e
RETURN id
