// Decisions about incidents in the order in which they were made, with executions, steps and approvals; one page.
// Parameters: $since (datetime, inclusive), $after_id (id of the last decision at exactly $since that was read, or ''),
//   $until (datetime, exclusive), $limit.
// Returns: d (facts of the decision), executions [{e (properties), steps [properties], approvals [properties]}].
MATCH (d:Decision)
WHERE d.decided_at >= $since AND d.decided_at < $until
  AND (d.decided_at > $since OR d.id > $after_id) AND d.incident IS NOT NULL
WITH d ORDER BY d.decided_at, d.id LIMIT $limit
CALL (d) {
  OPTIONAL MATCH (d)-[:LED_TO]->(e:RunbookExecution)
  CALL (e) {
    OPTIONAL MATCH (e)-[:STEP]->(s:StepRun)
    WITH s ORDER BY s.started_at, s.id
    RETURN collect(properties(s)) AS steps
  }
  CALL (e) {
    OPTIONAL MATCH (a:Approval {execution_id: e.id})
    WITH a ORDER BY a.requested_at, a.id
    RETURN collect(properties(a)) AS approvals
  }
  WITH e, steps, approvals ORDER BY e.requested_at, e.id
  RETURN collect(CASE WHEN e IS NULL THEN NULL
                      ELSE {e: properties(e), steps: steps, approvals: approvals} END) AS executions
}
RETURN d {.id, .incident_id, .kind, .attempt, .decided_at, .check, .message, .numbers, .runbook_id, .runbook_version,
          .runbook_sha, .incident, .closed_at, .repeat_count} AS d, executions
ORDER BY d.decided_at, d.id
