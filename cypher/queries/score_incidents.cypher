// Recorded incidents, as far as scoring needs them; one page, oldest first.
// Parameters: $since (datetime, inclusive), $after_id (id of the last decision at exactly $since that was read, or ''),
//   $until (datetime, exclusive), $limit.
// Returns: id, decided_at, incident (JSON), opened_at, closed_at, begun (an execution of ours began).
MATCH (d:Decision)
WHERE d.decided_at >= $since AND d.decided_at < $until
  AND (d.decided_at > $since OR d.id > $after_id) AND d.incident IS NOT NULL
WITH d ORDER BY d.decided_at, d.id LIMIT $limit
RETURN d.id AS id, d.decided_at AS decided_at, d.incident AS incident, d.opened_at AS opened_at,
       d.closed_at AS closed_at,
       EXISTS { MATCH (d)-[:LED_TO]->(e:RunbookExecution) WHERE e.started_at IS NOT NULL } AS begun
ORDER BY d.decided_at, d.id
