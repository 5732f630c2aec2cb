// Ends executions and frees their targets, under the same check as journal_steps. An execution that this epoch has
// ended already is left as it is: the answer to the first write may have been lost.
// Parameters: $rows [{n, execution_id, epoch, facts (properties with status and outcome)}].
// Returns: n, held (whether the row stands). An unknown execution gives no row.
// Audit: execution.ended.
UNWIND $rows AS row
MATCH (e:RunbookExecution {id: row.execution_id})
OPTIONAL MATCH (c:TargetClaim {key: e.claim_key})
SET c.written_at = datetime.realtime()
WITH row, e, c, coalesce(c.execution_id = e.id AND c.epoch = row.epoch, false) AS held
FOREACH (_ IN CASE WHEN held THEN [1] ELSE [] END |
  SET e += row.facts
  SET e.finished_at = datetime.realtime(),
      c.execution_id = NULL, c.holder = NULL, c.lease_until_ms = NULL
)
RETURN row.n AS n, held OR (e.status = 'done' AND e.epoch = row.epoch) AS held
