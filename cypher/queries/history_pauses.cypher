// Positions of the pause switch for everything, oldest first. What a pause of a part refused is told by its decisions.
// Parameters: $scope (the gate's store, as its keys begin). Returns: at, paused, by, reason.
MATCH (p:PauseSwitch)
WHERE p.at IS NOT NULL AND p.scope = $scope AND coalesce(p.part, '') = ''
RETURN p.at AS at, p.paused AS paused, p.by AS by, coalesce(p.reason, '') AS reason
ORDER BY p.at, p.id
