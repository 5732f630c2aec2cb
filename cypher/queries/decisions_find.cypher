// Decisions by the id, or the start of the id, of the decision, its incident, the event that opened it, or one of its
// executions; also by the full id of any event that the graph ties to it. Newest first.
// Parameters: $text, $limit. Returns: d (all properties), executions (their ids, oldest first).
CALL {
  MATCH (d:Decision) WHERE d.id STARTS WITH $text RETURN d LIMIT $limit
  UNION
  MATCH (d:Decision) WHERE d.incident_id STARTS WITH $text RETURN d LIMIT $limit
  UNION
  MATCH (d:Decision) WHERE d.event_id STARTS WITH $text RETURN d LIMIT $limit
  UNION
  MATCH (e:RunbookExecution) WHERE e.id STARTS WITH $text
  MATCH (d:Decision)-[:LED_TO]->(e) RETURN d LIMIT $limit
  UNION
  MATCH (x:Episodic {eid: $text})<-[:ABOUT]-(d:Decision) RETURN d LIMIT $limit
}
WITH d ORDER BY d.decided_at DESC LIMIT $limit
CALL (d) {
  OPTIONAL MATCH (d)-[:LED_TO]->(e:RunbookExecution)
  WITH e ORDER BY e.requested_at
  RETURN collect(e.id) AS executions
}
RETURN properties(d) AS d, executions
ORDER BY d.decided_at DESC
