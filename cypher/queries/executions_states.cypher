// Where executions stand.
// Parameters: $ids. Returns: id, status, cooldown_left_ms (by this server's clock). An unknown one gives no row.
UNWIND $ids AS id
MATCH (e:RunbookExecution {id: id})
RETURN e.id AS id, e.status AS status,
       CASE WHEN e.finished_at IS NULL THEN 0
            ELSE e.finished_at.epochMillis + toInteger(coalesce(e.cooldown_seconds, 0) * 1000) - timestamp() END AS cooldown_left_ms
