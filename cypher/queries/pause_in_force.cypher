// The newest position of the pause switch.
// Parameters: $scope (the gate's store, as its keys begin). Returns: by, reason, paused. No row: it was never touched.
MATCH (p:PauseSwitch)
WHERE p.at IS NOT NULL AND p.scope = $scope
RETURN p.by AS by, p.reason AS reason, p.paused AS paused
ORDER BY p.at DESC LIMIT 1
