// One approval, locked until the transaction ends, so that of two answers at once only one counts.
// Parameters: $id. Returns: a (properties); no row when it is unknown.
MATCH (a:Approval {id: $id})
SET a.written_at = datetime.realtime()
WITH a
RETURN properties(a) AS a
