// Ends an execution that nobody carries on, because a person says so, and frees its target. A holder that sleeps is
// fenced: the claim is no longer its own. The claim is locked before the execution, as by every writer.
// Parameters: $id, $why. Returns: refusal (NULL when it was ended), status (before), tenant, incident_id, target_key. No row: unknown id.
// Audit: execution.ended.
MATCH (known:RunbookExecution {id: $id})
OPTIONAL MATCH (c:TargetClaim {key: known.claim_key})
SET c.written_at = datetime.realtime()
WITH c
MATCH (e:RunbookExecution {id: $id})
SET e.written_at = datetime.realtime()
WITH c, e, datetime.realtime().epochMillis AS now, e.status AS status
WITH c, e, now, status, CASE
    WHEN e.status = 'done' THEN 'it has ended already'
    WHEN e.status IN ['running', 'verifying', 'rolling_back'] AND c.execution_id = e.id AND c.lease_until_ms > now
      THEN 'its holder ' + coalesce(c.holder, 'without a name') + ' is alive'
  END AS refusal
FOREACH (_ IN CASE WHEN refusal IS NULL THEN [1] ELSE [] END |
  SET e.status = 'done', e.outcome = 'aborted', e.error = $why, e.finished_at = datetime.realtime()
  FOREACH (_ IN CASE WHEN c.execution_id = e.id THEN [1] ELSE [] END |
    SET c.epoch = coalesce(c.epoch, 0) + 1, c.execution_id = NULL, c.holder = NULL, c.lease_until_ms = NULL
  )
)
RETURN refusal, status, e.tenant AS tenant, coalesce(e.incident_id, '') AS incident_id, e.target_key AS target_key
