// Executions that did not fix it, by runbook version: candidates for a better runbook.
// Parameters: change the number of days in the first line. Returns: runbook, version, how often, the targets.
WITH 30 AS days
MATCH (e:RunbookExecution)
WHERE e.requested_at > datetime() - duration({days: days}) AND e.verdict = 'not_fixed'
RETURN e.runbook_id AS runbook, e.runbook_version AS version, left(e.runbook_sha, 12) AS sha, count(*) AS times,
       collect(DISTINCT e.target_key)[..5] AS targets, max(e.finished_at) AS last
ORDER BY times DESC
