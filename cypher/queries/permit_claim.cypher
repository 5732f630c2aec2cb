// Claims a permitted execution for one holder and takes its target, all by this server's clock, or says why not.
// The target's claim is locked first, then the execution: every writer keeps that order.
// The same call sent again, because its answer was lost, is known by its id and answered the same.
// Parameters: $execution_id, $plan_hash, $holder, $lease_ms, $claim_id (of the call; no two calls share one),
//   $format (the newest major format that the holder reads).
// Returns: refusal (NULL when claimed), plan_hash, target_key, epoch, permit_expires_ms, approval_id. No row: unknown id.
// Audit: execution.started.
MATCH (known:RunbookExecution {id: $execution_id})
MERGE (c:TargetClaim {key: known.claim_key})
SET c.written_at = datetime.realtime()
WITH c
MATCH (e:RunbookExecution {id: $execution_id})
SET e.written_at = datetime.realtime()
WITH c, e, datetime.realtime().epochMillis AS now
WITH c, e, now, CASE
    WHEN e.claim_id = $claim_id AND e.status = 'running' AND c.execution_id = e.id AND c.epoch = e.token THEN NULL
    WHEN coalesce(e.format, 1) > $format THEN 'it was written by a newer release'
    WHEN e.status <> 'permitted' THEN 'it is ' + e.status + ' already'
    WHEN e.plan_hash <> $plan_hash THEN 'the permit is for another plan'
    WHEN coalesce(e.permit_expires_ms, 0) <= now THEN 'the permit ran out'
    WHEN c.execution_id <> e.id AND c.lease_until_ms > now THEN 'the target is held by execution ' + c.execution_id
    WHEN c.epoch >= e.token THEN 'the target has seen a newer permit'
  END AS refusal
FOREACH (_ IN CASE WHEN refusal IS NULL THEN [1] ELSE [] END |
  SET c.execution_id = e.id, c.epoch = e.token, c.holder = $holder, c.lease_until_ms = now + $lease_ms,
      c.target_key = e.target_key,
      e.status = 'running', e.epoch = e.token, e.holder = $holder, e.executed_by = $holder, e.claim_id = $claim_id,
      e.started_at = datetime.realtime(), e.executed_at = datetime.realtime()
)
RETURN refusal, e.plan_hash AS plan_hash, e.target_key AS target_key, e.epoch AS epoch,
       e.permit_expires_ms AS permit_expires_ms, coalesce(e.approval_id, '') AS approval_id
