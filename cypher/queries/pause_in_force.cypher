// The pauses that are in force: the newest change of each part, where it was a pause that has not ended by itself.
// Parameters: $scope (the gate's store, as its keys begin). Returns: by, reason, part ('' for everything), until_ms
// (NULL: until it is lifted), at.
MATCH (p:PauseSwitch)
WHERE p.at IS NOT NULL AND p.scope = $scope
WITH p ORDER BY p.at DESC
WITH coalesce(p.part, '') AS part, head(collect(p)) AS p
WHERE p.paused AND (p.until_ms IS NULL OR p.until_ms > datetime.realtime().epochMillis)
RETURN p.by AS by, p.reason AS reason, part, p.until_ms AS until_ms, p.at AS at
ORDER BY part
