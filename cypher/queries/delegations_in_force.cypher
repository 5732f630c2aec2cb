// Answers that are in somebody else's hands, oldest first.
// Parameters: $scope, $at. Returns: d (properties).
MATCH (d:ApprovalDelegation)
WHERE d.scope = $scope AND d.until > $at AND d.since <= $at AND (d.ended_at IS NULL OR d.ended_at > $at)
RETURN properties(d) AS d
ORDER BY d.since, d.id
