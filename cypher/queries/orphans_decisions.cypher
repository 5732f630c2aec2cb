// Decisions that wait to be looked at again, to see whether they can be read.
// Parameters: $cluster (empty for any), $limit. Returns: d (properties).
MATCH (d:Decision)
WHERE d.next_check_at IS NOT NULL AND d.kind = 'waiting' AND $cluster IN ['', d.cluster]
RETURN properties(d) AS d
ORDER BY d.next_check_at LIMIT $limit
