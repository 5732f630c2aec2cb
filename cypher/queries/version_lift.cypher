// Lifts every rollback of a runbook.
// Parameters: $runbook_id, $by, $reason. Returns: id of those that were lifted.
// Audit: runbook.rollback_lifted.
MATCH (r:RunbookRollback {runbook_id: $runbook_id}) WHERE r.lifted_at IS NULL
SET r.lifted_at = datetime.realtime(), r.lifted_by = $by, r.lift_reason = $reason
RETURN r.id AS id ORDER BY id
