// Executions whose id begins so.
// Parameters: $text, $limit. Returns: e (properties).
MATCH (e:RunbookExecution)
WHERE e.id STARTS WITH $text
RETURN properties(e) AS e
ORDER BY e.id LIMIT $limit
