// The graph's own event for an alert that came without KGroot's id: the newest one of the same reason about the same
// object, in a time window. Alertmanager bodies carry no eid, and the graph's event_time is the time of receipt.
// Parameters: $alerts [{event_id, tenant, untagged, reason, rids, since, until}].
// Returns: event_id (as asked), eid.
UNWIND $alerts AS s
CALL (s) {
  MATCH (r:Resource)<-[:ABOUT]-(e:Episodic)
  WHERE r.rid IN s.rids AND e.reason = s.reason AND e.event_time >= s.since AND e.event_time <= s.until
    AND (e.client_id = s.tenant OR (e.client_id IS NULL AND s.untagged))
  RETURN e.eid AS eid
  ORDER BY e.event_time DESC, eid LIMIT 1
}
RETURN s.event_id AS event_id, eid
