// Events about resources that happened after a moment, newest first.
// Parameters: $rids (all names of the resources), $tenant, $untagged, $moment, $severities (upper case), $limit.
// Returns: reason, severity, event_time, rid, kind.
MATCH (r:Resource) WHERE r.rid IN $rids AND (r.client_id = $tenant OR (r.client_id IS NULL AND $untagged))
MATCH (r)<-[:ABOUT]-(e:Episodic)
WHERE e.event_time > $moment AND toUpper(coalesce(e.severity, '')) IN $severities
  AND (e.client_id = $tenant OR (e.client_id IS NULL AND $untagged))
RETURN DISTINCT e.reason AS reason, e.severity AS severity, e.event_time AS event_time, r.rid AS rid, r.kind AS kind
ORDER BY event_time DESC LIMIT $limit
