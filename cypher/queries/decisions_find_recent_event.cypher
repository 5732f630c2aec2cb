// Decisions that took an event which the graph does not tie to them: looks through the recent ones.
// Parameters: $text (full event id), $since, $limit. Returns: d (all properties), executions (their ids, oldest first).
MATCH (d:Decision)
WHERE d.last_seen > $since AND $text IN d.event_ids
WITH d ORDER BY d.decided_at DESC LIMIT $limit
CALL (d) {
  OPTIONAL MATCH (d)-[:LED_TO]->(e:RunbookExecution)
  WITH e ORDER BY e.requested_at
  RETURN collect(e.id) AS executions
}
RETURN properties(d) AS d, executions
