// Notes when an API token was used last; an earlier time changes nothing.
// Parameters: $id, $scope (the installation, as its keys begin), $at. Returns: nothing.
// Audit: nothing; who used a token is told with what was done.
MATCH (t:ApiToken {id: $id})
WHERE t.scope = $scope
SET t.scope = $scope // takes the node's lock, so that what follows reads the last committed value
WITH t
SET t.last_used_at = CASE WHEN t.last_used_at > $at THEN t.last_used_at ELSE $at END
