// Approvals, oldest question first.
// Parameters: $statuses. Returns: a (properties).
MATCH (a:Approval)
WHERE a.status IN $statuses AND a.expires_at IS NOT NULL
RETURN properties(a) AS a
ORDER BY a.requested_at, a.id
