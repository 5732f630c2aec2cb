// What happened after a moment, for each of several questions, newest first of each of two sources: failing events about
// resources, and decisions about a target that took an input.
// Parameters: $asked [{n (numbers the question), rids (all names of the resources), tenant, untagged, moment, target_key}],
//   $severities (upper case), $limit (of each source).
// Returns: n, reason, at, severity and about (the resource) of an event, decision (its id; NULL for an event).
UNWIND $asked AS q
CALL (q) {
  MATCH (r:Resource) WHERE r.rid IN q.rids AND (r.client_id = q.tenant OR (r.client_id IS NULL AND q.untagged))
  MATCH (r)<-[:ABOUT]-(e:Episodic)
  WHERE e.event_time > q.moment AND toUpper(coalesce(e.severity, '')) IN $severities
    AND (e.client_id = q.tenant OR (e.client_id IS NULL AND q.untagged))
  RETURN DISTINCT e.reason AS reason, e.event_time AS at, e.severity AS severity, r.rid AS about, NULL AS decision
  ORDER BY at DESC LIMIT $limit
  UNION ALL
  MATCH (d:Decision)
  WHERE d.target_key = q.target_key AND d.last_seen > q.moment AND d.tenant = q.tenant AND d.kind <> 'resolved'
  RETURN d.reason AS reason, d.last_seen AS at, NULL AS severity, NULL AS about, d.id AS decision
  ORDER BY at DESC LIMIT $limit
}
RETURN q.n AS n, reason, at, severity, about, decision
