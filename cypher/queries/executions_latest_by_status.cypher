// Executions of one status, newest first.
// Parameters: $status, $since (datetime, inclusive), $limit. Returns: e (the facts of one line).
MATCH (e:RunbookExecution)
WHERE e.status = $status AND e.requested_at >= $since
RETURN e {.id, .tenant, .incident_id, .runbook_id, .runbook_version, .target_key, .status, .outcome, .verdict, .requested_at,
          .started_at, .finished_at, .holder} AS e
ORDER BY e.requested_at DESC LIMIT $limit
