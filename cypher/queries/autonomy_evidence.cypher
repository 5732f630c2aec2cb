// Executions that began and were carried through, by the time of their end; a page of them.
// Parameters: $since, $after_id (the last of the page before, that ended at $since), $limit.
// Returns: id, tenant, runbook_id, target_key, outcome, verdict, at.
// One moment in two time zones is not the same value: $since is brought to that of the server's own clock.
WITH datetime({epochSeconds: $since.epochSeconds, nanosecond: $since.nanosecond}) AS since
MATCH (e:RunbookExecution)
WHERE e.finished_at >= since AND (e.finished_at > since OR e.id > $after_id)
  AND e.status = 'done' AND e.started_at IS NOT NULL AND e.outcome <> 'aborted'
RETURN e.id AS id, coalesce(e.tenant, '') AS tenant, e.runbook_id AS runbook_id, e.target_key AS target_key,
       e.outcome AS outcome, e.verdict AS verdict, e.finished_at AS at
ORDER BY e.finished_at, e.id LIMIT $limit
