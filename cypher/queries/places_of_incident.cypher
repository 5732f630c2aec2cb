// Where questions about one incident were shown.
// Parameters: $incident_id. Returns: surface, channel, message.
MATCH (p:ApprovalPlace {incident_id: $incident_id}) WHERE p.message IS NOT NULL
RETURN DISTINCT p.surface AS surface, p.channel AS channel, p.message AS message ORDER BY message
