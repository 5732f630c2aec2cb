// The first message about an incident on a surface.
// Parameters: $surface, $cluster, $incident_id. Returns: channel, message, thread; no row when there is none.
MATCH (p:ApprovalPlace {incident_id: $incident_id})
WHERE p.surface = $surface AND p.cluster = $cluster AND p.message IS NOT NULL
RETURN p.channel AS channel, p.message AS message, p.thread AS thread
ORDER BY p.asked_at, p.key LIMIT 1
