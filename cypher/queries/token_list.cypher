// All API tokens of an installation, newest first.
// Parameters: $scope (the installation, as its keys begin). Returns: token (properties).
MATCH (t:ApiToken)
WHERE t.scope = $scope
RETURN properties(t) AS token
ORDER BY t.created_at DESC, t.id
