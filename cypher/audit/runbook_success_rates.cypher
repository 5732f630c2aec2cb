// How often each runbook version fixed what it was for: the basis for trusting it with more, or with less.
// Parameters: change the number of days in the first line. Returns: runbook, version, executions, share by verdict.
WITH 90 AS days
MATCH (e:RunbookExecution)
WHERE e.requested_at > datetime() - duration({days: days}) AND e.status = 'done' AND e.started_at IS NOT NULL
WITH e.runbook_id AS runbook, e.runbook_version AS version, count(*) AS executions,
     sum(CASE e.verdict WHEN 'verified' THEN 1 ELSE 0 END) AS verified,
     sum(CASE e.verdict WHEN 'not_fixed' THEN 1 ELSE 0 END) AS not_fixed,
     sum(CASE e.verdict WHEN 'inconclusive' THEN 1 ELSE 0 END) AS inconclusive,
     sum(CASE e.outcome WHEN 'rollback' THEN 1 ELSE 0 END) AS rolled_back
RETURN runbook, version, executions, verified, not_fixed, inconclusive, rolled_back,
       round(100.0 * verified / executions, 1) AS verified_percent
ORDER BY runbook, version
