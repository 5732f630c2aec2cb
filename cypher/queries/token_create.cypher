// Keeps a new API token, as its hash; written again it changes nothing.
// Parameters: $id, $scope (the installation, as its keys begin), $token (properties). Returns: id.
// Audit: token.created.
MERGE (t:ApiToken {id: $id})
ON CREATE SET t += $token, t.scope = $scope
RETURN t.id AS id
