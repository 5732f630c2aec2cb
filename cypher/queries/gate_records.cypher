// Executions that hold a target, cool one down, were permitted within the rates' window, or whose runbook asks a human
// before it runs for the same target so soon again: what the gate's store is rebuilt from. By this server's clock.
// Parameters: $window_ms, $memory_ms (the longest time that a runbook may ask for). Returns: id, tenant, runbook_id, target_key, plan_hash, token, permitted_ms,
// permit_expires_ms, holds, cooldown_ms (NULL while it runs), approval_id, namespaces, blast (NULL where nobody recorded it).
CALL {
  MATCH (e:RunbookExecution)
  WHERE e.status IN ['permitted', 'running', 'verifying', 'rolling_back'] AND e.requested_at IS NOT NULL
  RETURN e
  UNION
  MATCH (e:RunbookExecution)
  WHERE e.requested_at >= datetime.realtime() - duration({milliseconds: $window_ms})
  RETURN e
  UNION
  MATCH (e:RunbookExecution)
  WHERE e.requested_at >= datetime.realtime() - duration({milliseconds: $memory_ms})
    AND e.remember_ms > 0 AND e.requested_at.epochMillis + e.remember_ms >= datetime.realtime().epochMillis
  RETURN e
}
WITH e WHERE e.token IS NOT NULL AND (e.started_at IS NOT NULL OR e.status <> 'done')
RETURN e.id AS id, e.tenant AS tenant, e.runbook_id AS runbook_id, e.target_key AS target_key,
       e.plan_hash AS plan_hash, coalesce(e.epoch, e.token) AS token, e.permitted_ms AS permitted_ms,
       e.permit_expires_ms AS permit_expires_ms, e.status <> 'done' AS holds,
       CASE WHEN e.finished_at IS NULL THEN NULL
            ELSE e.finished_at.epochMillis + toInteger(coalesce(e.cooldown_seconds, 0) * 1000) END AS cooldown_ms,
       coalesce(e.approval_id, '') AS approval_id, coalesce(e.namespaces, []) AS namespaces, e.blast AS blast
