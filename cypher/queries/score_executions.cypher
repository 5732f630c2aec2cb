// How the executions of some runbooks did that began and were carried through, for each version by itself.
// Parameters: $ids (of runbooks), $since. Returns: runbook_id, sha, ended, verified, seconds (of each).
MATCH (e:RunbookExecution)
WHERE e.requested_at >= $since AND e.runbook_id IN $ids AND e.status = 'done'
  AND e.started_at IS NOT NULL AND e.outcome <> 'aborted'
RETURN e.runbook_id AS runbook_id, coalesce(e.runbook_sha, '') AS sha, count(e) AS ended,
       count(CASE WHEN e.verdict = 'verified' THEN 1 END) AS verified,
       collect(duration.inSeconds(e.started_at, e.finished_at).milliseconds / 1000.0) AS seconds
