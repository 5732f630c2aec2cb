// Pending approvals whose time is over.
// Parameters: $now. Returns: a (properties).
MATCH (a:Approval)
WHERE a.status = 'pending' AND a.expires_at <= $now
RETURN properties(a) AS a
ORDER BY a.expires_at, a.id
