// One API token of an installation.
// Parameters: $id, $scope (the installation, as its keys begin). Returns: token (properties). No row: there is none.
MATCH (t:ApiToken {id: $id})
WHERE t.scope = $scope
RETURN properties(t) AS token
