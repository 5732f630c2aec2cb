// The rollbacks in force, of each version that is out of force the latest.
// Parameters: none. Returns: id, runbook_id, from_sha, to_sha, by, reason, at.
MATCH (r:RunbookRollback) WHERE r.runbook_id IS NOT NULL AND r.lifted_at IS NULL
WITH r ORDER BY r.at DESC, r.id
WITH r.runbook_id AS runbook_id, r.from_sha AS from_sha, collect(r)[0] AS r
RETURN r.id AS id, runbook_id, from_sha, r.to_sha AS to_sha, r.by AS by, r.reason AS reason, r.at AS at
ORDER BY runbook_id, from_sha
