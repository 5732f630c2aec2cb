// Writes intents and outcomes of steps, many executions together. A row counts only while its execution holds the
// target under its epoch; locking the claim first makes that check and the write one.
// Parameters: $rows [{n, execution_id, epoch, step_id, step (properties)}].
// Returns: n, held (whether the row was written). An unknown execution gives no row.
// Audit: step.intended, step.ended, step.undone.
UNWIND $rows AS row
MATCH (e:RunbookExecution {id: row.execution_id})
OPTIONAL MATCH (c:TargetClaim {key: e.claim_key})
SET c.written_at = datetime.realtime()
WITH row, e, coalesce(c.execution_id = e.id AND c.epoch = row.epoch, false) AS held
CALL (row, e, held) {
  WITH row, e WHERE held
  MERGE (s:StepRun {id: row.step_id})
  SET s += row.step
  MERGE (e)-[:STEP]->(s)
}
RETURN row.n AS n, held
