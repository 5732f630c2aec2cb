// Takes a version of a runbook out of force. An older rollback of the same version is lifted by it.
// Parameters: $id, $runbook_id, $from_sha, $to_sha, $by, $reason. Returns: nothing.
// Audit: runbook.rolled_back.
MERGE (r:RunbookRollback {id: $id})
ON CREATE SET r.runbook_id = $runbook_id, r.from_sha = $from_sha, r.to_sha = $to_sha, r.by = $by,
              r.reason = $reason, r.at = datetime.realtime()
WITH r
MATCH (old:RunbookRollback {runbook_id: $runbook_id, from_sha: $from_sha})
WHERE old.id <> r.id AND old.lifted_at IS NULL AND old.at <= r.at
SET old.lifted_at = r.at, old.lifted_by = $by, old.lift_reason = 'replaced'
