// Time from the first signal to the verified fix, and where it went, by runbook.
// Parameters: change the number of days in the first line. Returns: runbook, how often, seconds on average and at worst.
WITH 30 AS days
MATCH (d:Decision)-[:LED_TO]->(e:RunbookExecution)
WHERE e.requested_at > datetime() - duration({days: days}) AND e.verdict = 'verified'
WITH e.runbook_id AS runbook,
     duration.inSeconds(d.first_seen, e.finished_at).seconds AS whole,
     duration.inSeconds(d.first_seen, d.decided_at).seconds AS deciding,
     duration.inSeconds(d.decided_at, e.started_at).seconds AS waiting,
     duration.inSeconds(e.started_at, e.finished_at).seconds AS acting
RETURN runbook, count(*) AS fixes, round(avg(whole), 1) AS seconds, percentileCont(whole, 0.95) AS p95, max(whole) AS worst,
       round(avg(deciding), 1) AS deciding, round(avg(waiting), 1) AS waiting, round(avg(acting), 1) AS acting
ORDER BY fixes DESC
