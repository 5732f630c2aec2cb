// Closes the open decisions that these alerts opened; waiting ones become resolved.
// Parameters: $alert_keys, $at (event time of the resolution; decisions that began later stay open).
// Returns: id, tenant, incident_id, kind.
// Audit: decision.closed.
MATCH (d:Decision)
WHERE d.open_alert_key IN $alert_keys
SET d.written_at = datetime.realtime() // the lock, as in decisions_upsert
WITH d
WHERE d.open_alert_key IN $alert_keys AND d.first_seen <= $at
SET d.closed_at = $at, d.open_alert_key = NULL, d.next_check_at = NULL,
    d.message = CASE WHEN d.kind = 'waiting' THEN 'the alert was resolved before a cause appeared' ELSE d.message END,
    d.kind = CASE WHEN d.kind = 'waiting' THEN 'resolved' ELSE d.kind END
RETURN d.id AS id, d.tenant AS tenant, coalesce(d.incident_id, '') AS incident_id, d.kind AS kind
