// One approval, locked until the transaction ends, so that of two answers at once only one counts.
// Parameters: $id. Returns: a (properties), tenant (of its execution, or NULL); no row when it is unknown.
// Audit: nothing; it takes a lock.
MATCH (a:Approval {id: $id})
SET a.written_at = datetime.realtime()
WITH a
OPTIONAL MATCH (e:RunbookExecution {id: a.execution_id})
RETURN properties(a) AS a, e.tenant AS tenant
