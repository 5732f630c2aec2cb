// Ids of executions by the id of the execution, its incident or its decision, or the start of one. Newest first.
// Parameters: $text, $limit. Returns: id.
CALL {
  MATCH (e:RunbookExecution) WHERE e.id STARTS WITH $text RETURN e LIMIT $limit
  UNION
  MATCH (d:Decision) WHERE d.incident_id STARTS WITH $text
  MATCH (d)-[:LED_TO]->(e:RunbookExecution) RETURN e LIMIT $limit
  UNION
  MATCH (d:Decision) WHERE d.id STARTS WITH $text
  MATCH (d)-[:LED_TO]->(e:RunbookExecution) RETURN e LIMIT $limit
}
RETURN e.id AS id ORDER BY e.requested_at DESC LIMIT $limit
