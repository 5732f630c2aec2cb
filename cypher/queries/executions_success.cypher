// How often a runbook helped: executions that began and were carried through, and those of them that were verified.
// Parameters: $runbook_id, $tenant (empty for any), $since. Returns: verified, ended.
MATCH (e:RunbookExecution)
WHERE e.requested_at >= $since AND e.runbook_id = $runbook_id AND e.status = 'done'
  AND e.started_at IS NOT NULL AND e.outcome <> 'aborted' AND ($tenant = '' OR e.tenant = $tenant)
RETURN count(CASE WHEN e.verdict = 'verified' THEN 1 END) AS verified, count(e) AS ended
