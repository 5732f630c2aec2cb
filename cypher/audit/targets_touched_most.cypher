// Targets that are acted on most often: something there wants a lasting fix.
// Parameters: change the number of days in the first line. Returns: target, executions, how many were verified.
WITH 30 AS days
MATCH (e:RunbookExecution)
WHERE e.requested_at > datetime() - duration({days: days}) AND e.started_at IS NOT NULL
RETURN e.target_key AS target, count(*) AS executions, sum(CASE e.verdict WHEN 'verified' THEN 1 ELSE 0 END) AS verified,
       collect(DISTINCT e.runbook_id) AS runbooks, max(e.started_at) AS last
ORDER BY executions DESC LIMIT 25
