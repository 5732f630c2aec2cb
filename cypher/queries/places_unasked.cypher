// Open questions that were not put on a surface yet, and that nobody is about to put there; oldest first.
// Parameters: $surface, $cluster (whose targets), $now, $limit. Returns: a (properties).
MATCH (a:Approval)
WHERE a.status = 'pending' AND a.expires_at > $now
MATCH (e:RunbookExecution {id: a.execution_id})
WHERE e.target_key STARTS WITH $cluster + '/'
OPTIONAL MATCH (p:ApprovalPlace {key: $surface + '|' + a.id})
WITH a, p
WHERE p IS NULL OR (p.message IS NULL AND coalesce(p.held_until_ms, 0) < timestamp())
RETURN properties(a) AS a
ORDER BY a.requested_at, a.id LIMIT $limit
