// Everybody whom somebody or something has moved on the ladder of autonomy, as they stand.
// Parameters: none. Returns: s (properties).
MATCH (s:AutonomyStanding) WHERE s.key > '' AND s.rung IS NOT NULL RETURN properties(s) AS s
