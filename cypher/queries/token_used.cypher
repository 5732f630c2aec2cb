// Notes when an API token was used last; an earlier time changes nothing.
// Parameters: $id, $scope (the installation, as its keys begin), $at. Returns: nothing.
MATCH (t:ApiToken {id: $id})
WHERE t.scope = $scope AND (t.last_used_at IS NULL OR t.last_used_at < $at)
SET t.last_used_at = $at
