// Moves executions on, under the same check as journal_steps.
// Parameters: $rows [{n, execution_id, epoch, facts (properties with the status)}].
// Returns: n, held (whether the row was written). An unknown execution gives no row.
// Audit: execution.advanced.
UNWIND $rows AS row
MATCH (e:RunbookExecution {id: row.execution_id})
OPTIONAL MATCH (c:TargetClaim {key: e.claim_key})
SET c.written_at = datetime.realtime()
WITH row, e, coalesce(c.execution_id = e.id AND c.epoch = row.epoch, false) AS held
FOREACH (_ IN CASE WHEN held THEN [1] ELSE [] END | SET e += row.facts)
RETURN row.n AS n, held
