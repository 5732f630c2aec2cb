// The newest open decision that each alert opened.
// Parameters: $alert_keys.
// Returns: alert_key, d (id, kind, attempt, first_seen, deadline, next_check_at, incident_id, closed_at, event_id,
//   offsets, busy: an execution that it led to has not ended).
UNWIND $alert_keys AS alert_key
CALL (alert_key) {
  MATCH (d:Decision {open_alert_key: alert_key})
  RETURN d ORDER BY d.first_seen DESC LIMIT 1
}
RETURN alert_key,
       d {.id, .kind, .attempt, .first_seen, .deadline, .next_check_at, .incident_id, .closed_at, .event_id,
          .offsets, busy: EXISTS {
            (d)-[:LED_TO]->(x:RunbookExecution)
            WHERE x.status <> 'done'
          }} AS d
