// The newest incident of each fingerprint with its latest execution.
// Parameters: $fingerprints. Returns: fingerprint, d (the decision's facts), e (the execution's facts or NULL;
//   over: it ended and its cooldown has passed).
UNWIND $fingerprints AS fingerprint
CALL (fingerprint) {
  MATCH (d:Decision {fingerprint: fingerprint})
  WHERE d.opened_at IS NOT NULL
  RETURN d ORDER BY d.opened_at DESC LIMIT 1
}
CALL (d) {
  OPTIONAL MATCH (d)-[:LED_TO]->(x:RunbookExecution)
  RETURN x ORDER BY x.requested_at DESC LIMIT 1
}
RETURN fingerprint,
       d {.incident_id, .id, .kind, .opened_at, .last_seen, .repeat_count, .attempt, .closed_at, .check, .decided_at,
          .offsets} AS d,
       x {.id, .status, .outcome, .verdict, .started_at, .finished_at,
          over: x.status = 'done'
            AND x.finished_at + duration({milliseconds: toInteger(coalesce(x.cooldown_seconds, 0.0) * 1000)}) < datetime()} AS e
