// Executions of a cluster that ended lately, as the gate's store is rebuilt from. By this server's clock.
// Parameters: $since_ms (how far back), $cluster (empty for any). Returns: as gate_records.
MATCH (e:RunbookExecution)
WHERE e.finished_at >= datetime.realtime() - duration({milliseconds: $since_ms}) AND e.status = 'done'
  AND e.token IS NOT NULL AND e.started_at IS NOT NULL
  AND ($cluster = '' OR e.target_key STARTS WITH $cluster + '/')
RETURN e.id AS id, e.tenant AS tenant, e.runbook_id AS runbook_id, e.target_key AS target_key,
       e.plan_hash AS plan_hash, coalesce(e.epoch, e.token) AS token, e.permitted_ms AS permitted_ms,
       e.permit_expires_ms AS permit_expires_ms, false AS holds,
       e.finished_at.epochMillis + toInteger(coalesce(e.cooldown_seconds, 0) * 1000) AS cooldown_ms,
       coalesce(e.approval_id, '') AS approval_id, coalesce(e.namespaces, []) AS namespaces, e.blast AS blast
