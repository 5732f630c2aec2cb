// What happened after a moment, newest first of each of two sources: failing events about resources, and decisions about
// a target that took an input.
// Parameters: $rids (all names of the resources), $tenant, $untagged, $moment, $severities (upper case), $target_key,
//   $limit (of each source).
// Returns: reason, at, severity and about (the resource) of an event, decision (its id; NULL for an event).
MATCH (r:Resource) WHERE r.rid IN $rids AND (r.client_id = $tenant OR (r.client_id IS NULL AND $untagged))
MATCH (r)<-[:ABOUT]-(e:Episodic)
WHERE e.event_time > $moment AND toUpper(coalesce(e.severity, '')) IN $severities
  AND (e.client_id = $tenant OR (e.client_id IS NULL AND $untagged))
RETURN DISTINCT e.reason AS reason, e.event_time AS at, e.severity AS severity, r.rid AS about, NULL AS decision
ORDER BY at DESC LIMIT $limit
UNION ALL
MATCH (d:Decision)
WHERE d.target_key = $target_key AND d.last_seen > $moment AND d.tenant = $tenant AND d.kind <> 'resolved'
RETURN d.reason AS reason, d.last_seen AS at, NULL AS severity, NULL AS about, d.id AS decision
ORDER BY at DESC LIMIT $limit
