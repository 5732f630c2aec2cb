// Takes over a begun execution whose lease ran out by this server's clock: the epoch of the target grows, so that the
// former holder can no longer write. Or says why not.
// Parameters: $execution_id, $holder, $lease_ms, $format (the newest major format that the holder reads).
// Returns: refusal (NULL when adopted), plan_hash, target_key, epoch, permit_expires_ms, approval_id, tenant, incident_id.
//   No row: unknown id.
// Audit: execution.adopted.
MATCH (known:RunbookExecution {id: $execution_id})
MERGE (c:TargetClaim {key: known.claim_key})
SET c.written_at = datetime.realtime()
WITH c
MATCH (e:RunbookExecution {id: $execution_id})
SET e.written_at = datetime.realtime()
WITH c, e, datetime.realtime().epochMillis AS now
WITH c, e, now, CASE
    WHEN coalesce(e.format, 1) > $format THEN 'it was written by a newer release'
    WHEN NOT e.status IN ['running', 'verifying', 'rolling_back'] THEN 'it is ' + e.status
    WHEN c.lease_until_ms > now AND c.execution_id = e.id THEN 'its holder is alive'
    WHEN c.lease_until_ms > now THEN 'the target is held by execution ' + c.execution_id
  END AS refusal
FOREACH (_ IN CASE WHEN refusal IS NULL THEN [1] ELSE [] END |
  SET c.epoch = coalesce(c.epoch, 0) + 1
  SET c.execution_id = e.id, c.holder = $holder, c.lease_until_ms = now + $lease_ms,
      e.epoch = c.epoch, e.holder = $holder, e.resumed = true
)
RETURN refusal, e.plan_hash AS plan_hash, e.target_key AS target_key, e.epoch AS epoch,
       e.permit_expires_ms AS permit_expires_ms, coalesce(e.approval_id, '') AS approval_id,
       e.tenant AS tenant, coalesce(e.incident_id, '') AS incident_id
