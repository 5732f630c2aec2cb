// Records that the storm breaker opened or closed a scope; one node for each change, the newest of a scope counts.
// Parameters: $id, $scope (the gate's store, as its keys begin), $tenant, $part (what is stopped), $open, $state (JSON),
// $since (when it opened, milliseconds since 1970), $by, $reason (of who closed it). Returns: created.
// Audit: storm.opened, storm.closed.
OPTIONAL MATCH (known:StormStop {id: $id})
WITH known IS NULL AS created
MERGE (s:StormStop {id: $id})
ON CREATE SET s.scope = $scope, s.tenant = $tenant, s.part = $part, s.open = $open, s.state = $state, s.since = $since,
              s.by = $by, s.reason = $reason, s.at = datetime.realtime()
RETURN created
