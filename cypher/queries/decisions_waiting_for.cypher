// Waiting decisions that these events opened: a late RCA result is the answer that they wait for.
// Parameters: $events [{event_id, tenant}]. Returns: d (properties of the oldest one of each event).
UNWIND $events AS asked
CALL (asked) {
  MATCH (d:Decision {event_id: asked.event_id})
  WHERE d.kind = 'waiting' AND d.tenant = asked.tenant
  RETURN d ORDER BY d.first_seen, d.id LIMIT 1
}
RETURN properties(d) AS d
