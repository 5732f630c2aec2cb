// What a storm has stopped: the newest change of each scope, where it was opened by it.
// Parameters: $scope (the gate's store, as its keys begin). Returns: tenant, part, state (JSON), told (whether people
// were told of it).
MATCH (s:StormStop)
WHERE s.at IS NOT NULL AND s.scope = $scope
WITH s ORDER BY s.since DESC, s.open, s.at DESC
WITH s.tenant AS tenant, s.part AS part, head(collect(s)) AS s
WHERE s.open
RETURN tenant, part, s.state AS state, coalesce(s.told, false) AS told
ORDER BY tenant, part
