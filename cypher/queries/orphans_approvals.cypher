// Questions that wait although their time is over by this server's clock, or that no execution waits for.
// Parameters: $grace_ms (so much later a sweeper should have expired them), $cluster (whose targets; empty for any), $limit.
// Returns: a (properties), e (status, tenant, target_key, runbook_id of its execution, or NULL).
MATCH (a:Approval)
WHERE a.status = 'pending' AND a.expires_at IS NOT NULL
OPTIONAL MATCH (e:RunbookExecution {id: a.execution_id})
WITH a, e
WHERE (e IS NULL OR e.status = 'done' OR a.expires_at.epochMillis <= timestamp() - $grace_ms)
  AND ($cluster = '' OR e IS NULL OR e.target_key STARTS WITH $cluster + '/')
RETURN properties(a) AS a, e {.status, .tenant, .target_key, .runbook_id} AS e
ORDER BY a.expires_at LIMIT $limit
