// Asks the running processes to carry on an execution that nobody carries on; with $rollback it is taken back instead.
// The next of them adopts it under a larger epoch, and a holder that sleeps is fenced by then.
// Parameters: $id, $rollback, $why (kept with a rollback).
// Returns: refusal (NULL when it was asked), status (before), holder, epoch, tenant, incident_id, target_key. No row: unknown id.
// Audit: execution.adoption_asked.
MATCH (known:RunbookExecution {id: $id})
OPTIONAL MATCH (c:TargetClaim {key: known.claim_key})
SET c.written_at = datetime.realtime()
WITH c
MATCH (e:RunbookExecution {id: $id})
SET e.written_at = datetime.realtime()
WITH c, e, datetime.realtime().epochMillis AS now, e.status AS status
WITH c, e, now, status, CASE
    WHEN e.status = 'done' THEN 'it has ended already'
    WHEN e.status = 'waiting_approval' THEN 'it waits for an answer: rb approvals'
    WHEN e.status = 'permitted' AND $rollback THEN 'it has not begun: there is nothing to take back'
    WHEN e.status = 'permitted' AND coalesce(e.permit_expires_ms, 0) <= now THEN 'its permit ran out: abort it'
    WHEN c.lease_until_ms > now AND c.execution_id <> e.id THEN 'the target is held by execution ' + c.execution_id
    WHEN e.status IN ['running', 'verifying', 'rolling_back'] AND c.execution_id = e.id AND c.lease_until_ms > now
      THEN 'its holder ' + coalesce(c.holder, 'without a name') + ' is alive'
  END AS refusal
FOREACH (_ IN CASE WHEN refusal IS NULL THEN [1] ELSE [] END |
  SET e.adoption_asked_ms = now
  FOREACH (_ IN CASE WHEN $rollback THEN [1] ELSE [] END | SET e.status = 'rolling_back', e.error = $why)
  // Whoever slept through its lease must not carry on the steps beside the rollback.
  FOREACH (_ IN CASE WHEN $rollback AND c.execution_id = e.id THEN [1] ELSE [] END |
    SET c.epoch = coalesce(c.epoch, 0) + 1, c.holder = NULL, c.lease_until_ms = NULL
  )
)
RETURN refusal, status, e.holder AS holder, e.epoch AS epoch, e.tenant AS tenant,
       coalesce(e.incident_id, '') AS incident_id, e.target_key AS target_key
