// Which root causes were acted on, how sure the analysis was, and how often that proved right.
// Parameters: change the number of days in the first line. Returns: cause, writer's mean confidence, executions, verified.
WITH 90 AS days
MATCH (d:Decision)-[:LED_TO]->(e:RunbookExecution)
WHERE e.requested_at > datetime() - duration({days: days}) AND e.started_at IS NOT NULL
RETURN d.cause_reason AS cause, round(avg(e.rca_confidence), 2) AS confidence, count(*) AS executions,
       sum(CASE e.verdict WHEN 'verified' THEN 1 ELSE 0 END) AS verified
ORDER BY executions DESC
