// Records that people were told of a tenant's storm: of all that it has stopped so far.
// Parameters: $scope (the gate's store, as its keys begin), $tenant, $since (of the storm, milliseconds since 1970).
// Returns: nothing.
// Audit: nothing; the storm is told, this says that people were.
MATCH (s:StormStop)
WHERE s.at IS NOT NULL AND s.scope = $scope AND s.tenant = $tenant AND s.open AND s.since >= $since
SET s.told = true
