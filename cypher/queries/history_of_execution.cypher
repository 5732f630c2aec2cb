// Decisions with their executions, by the id of an execution, its incident or its decision, or the start of one.
// Parameters: $text, $limit. Returns: as history_incidents.
CALL {
  MATCH (e:RunbookExecution) WHERE e.id STARTS WITH $text
  MATCH (d:Decision)-[:LED_TO]->(e) RETURN d LIMIT $limit
  UNION
  MATCH (d:Decision) WHERE d.incident_id STARTS WITH $text RETURN d LIMIT $limit
  UNION
  MATCH (d:Decision) WHERE d.id STARTS WITH $text RETURN d LIMIT $limit
}
WITH DISTINCT d WHERE d.incident IS NOT NULL
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
