// Records the pause switch; one node for each change, the newest of a part counts, so that nobody waits for another writer.
// Parameters: $id, $by, $reason, $paused, $scope (the gate's store, as its keys begin), $part (what is paused; '' for
// everything), $until_ms (NULL: until it is lifted). Returns: nothing.
// Audit: pause.set, pause.lifted.
MERGE (p:PauseSwitch {id: $id})
ON CREATE SET p.by = $by, p.reason = $reason, p.paused = $paused, p.scope = $scope, p.part = $part,
              p.until_ms = $until_ms, p.at = datetime.realtime()
