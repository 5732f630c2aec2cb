// Records the pause switch; one node for each change, the newest counts, so that nobody waits for another writer.
// Parameters: $id, $by, $reason, $paused, $scope (the gate's store, as its keys begin). Returns: nothing.
MERGE (p:PauseSwitch {id: $id})
ON CREATE SET p.by = $by, p.reason = $reason, p.paused = $paused, p.scope = $scope, p.at = datetime.realtime()
