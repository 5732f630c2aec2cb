// Moves on the ladder of autonomy, newest first.
// Parameters: $keys (of climbers). Returns: m (properties).
MATCH (m:AutonomyMove) WHERE m.key IN $keys
RETURN properties(m) AS m ORDER BY m.at DESC, m.revision DESC
